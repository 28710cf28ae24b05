# One architecture trained alone on CIFAR-10, from scratch: what inherited accuracies are compared with.
_base_ = '_base_cifar10.py'

model = dict(
    _delete_=True,
    type='AutoFormerViT',
    arch=dict(embed_dim=128, depth=8, num_heads=[3] * 8, mlp_ratio=[3.0] * 8),
    num_classes=10,
    img_size=32,
    patch_size=4,
    head_dim=32,
    max_relative_position=7,
    drop_path_rate=0.0,
    loss={{_base_.model.loss}},
    data_preprocessor={{_base_.model.data_preprocessor}},
)
val_cfg = dict(_delete_=True)
test_cfg = dict(_delete_=True)
