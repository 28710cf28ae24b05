# The searched small network alone, from scratch (AutoFormer, table 5: 81.7 in the paper).
_base_ = ['./_base_in1k.py', './_searched_small.py']

model = dict(
    _delete_=True,
    type='AutoFormerViT',
    arch={{_base_.arch}},
    num_classes=1000,
    img_size=224,
    drop_path_rate=0.1,
    loss={{_base_.model.loss}},
    data_preprocessor={{_base_.model.data_preprocessor}},
)
train_cfg = dict(max_epochs=300)
val_cfg = dict(_delete_=True)
test_cfg = dict(_delete_=True)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=21),
    dict(type='CosineAnnealingLR', T_max=300, eta_min=1e-5, by_epoch=True, begin=0, end=300),
]
find_unused_parameters = False
