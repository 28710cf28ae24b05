# CIFAR-10 as folders of classes, 32 x 32 pixels: a space of some 10^10 sub-networks, 64 tokens. Sizes, rate and schedule are
# ours, for a processor. For your own images: folders of classes, their number, and the size.
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.autoformer'], allow_failed_imports=False)
inferencer = dict(type='AutoFormerInferencer')

model = dict(
    type='AutoFormerSupernet',
    space=dict(embed_dim=[96, 128, 160, 192], depth=[6, 8, 10], num_heads=[2, 3, 4], mlp_ratio=[2.0, 3.0, 4.0], head_dim=32),
    num_classes=10,
    img_size=32,
    patch_size=4,
    max_relative_position=7,
    qkv_bias_layout='interleaved',
    drop_path_rate=0.0,
    loss=dict(type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.1, num_classes=10, mode='original'),
    data_preprocessor=dict(
        type='mmpretrain.ClsDataPreprocessor', mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7], to_rgb=True, num_classes=10
    ),
)

pack = dict(type='mmpretrain.PackInputs', meta_keys=('img_id', 'img_path'))
train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    drop_last=True,
    dataset=dict(
        type='mmpretrain.CustomDataset',
        data_root='data/cifar10/train',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='mmpretrain.RandomCrop', crop_size=32, padding=4),
            dict(type='mmpretrain.RandomFlip', prob=0.5, direction='horizontal'),
            pack,
        ],
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=250,
    num_workers=0,
    dataset=dict(
        type='mmpretrain.CustomDataset',
        data_root='data/cifar10/test',
        pipeline=[dict(type='LoadImageFromFile'), pack],
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmpretrain.Accuracy', topk=(1,))
test_evaluator = dict(type='mmpretrain.Accuracy', topk=(1,))

train_cfg = dict(by_epoch=True, max_epochs=20, val_interval=5)
val_cfg = dict(type='SubnetValLoop', subnets=['smallest', 'middle', 'largest'])
test_cfg = dict(type='SubnetTestLoop', subnets=['smallest', 'middle', 'largest'])
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05, fused=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, end=2, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=2, end=20, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=128, enable=False)
default_hooks = dict(visualization=dict(type='mmpretrain.VisualizationHook', enable=False))
visualizer = dict(type='mmpretrain.UniversalVisualizer')
find_unused_parameters = True
