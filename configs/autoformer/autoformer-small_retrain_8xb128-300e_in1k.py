# The searched small network alone, from scratch (AutoFormer, table 5: 81.7 in the paper).
_base_ = './_base_in1k.py'

model = dict(
    _delete_=True,
    type='AutoFormerViT',
    arch=dict(
        depth=13,
        embed_dim=384,
        num_heads=[6, 6, 5, 7, 5, 5, 5, 6, 6, 7, 7, 6, 7],
        mlp_ratio=[3.0, 3.5, 3.0, 3.5, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 3.5, 4.0],
    ),
    num_classes=1000,
    img_size=224,
    drop_path_rate=0.1,
    loss=dict(type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.1, num_classes=1000, mode='original'),
    data_preprocessor={{_base_.model.data_preprocessor}},
)
train_cfg = dict(max_epochs=300)
val_cfg = dict(_delete_=True)
test_cfg = dict(_delete_=True)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=20),
    dict(type='CosineAnnealingLR', T_max=300, eta_min=1e-5, by_epoch=True, begin=0, end=300),
]
find_unused_parameters = False
