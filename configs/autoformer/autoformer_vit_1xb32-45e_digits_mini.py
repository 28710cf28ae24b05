# One architecture trained alone, from scratch: what inherited accuracies are compared with.
_base_ = './_base_digits.py'

model = dict(
    _delete_=True,
    type='AutoFormerViT',
    arch=dict(embed_dim=24, depth=3, num_heads=[3, 3, 3], mlp_ratio=[1.0, 1.0, 1.0]),
    num_classes=10,
    img_size=8,
    patch_size=2,
    in_channels=1,
    head_dim=8,
    max_relative_position=4,
    drop_path_rate=0.0,
    init_std=0.08,
    loss=dict(type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.1, num_classes=10, mode='original'),
    data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', mean=[4.8], std=[6.08], num_classes=10),
)
val_cfg = dict(_delete_=True)
test_cfg = dict(_delete_=True)
