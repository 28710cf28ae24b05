# The digits of scikit-learn (8 x 8 pixels, 10 classes): a search space of 4644 sub-networks that trains in a minute.
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.autoformer', 'openmsra.miniatures.digits'], allow_failed_imports=False)
inferencer = dict(type='AutoFormerInferencer')

model = dict(
    type='AutoFormerSupernet',
    space=dict(embed_dim=[16, 24, 32], depth=[2, 3, 4], num_heads=[2, 3, 4], mlp_ratio=[1.0, 2.0], head_dim=8),
    num_classes=10,
    img_size=8,
    patch_size=2,
    in_channels=1,
    max_relative_position=4,
    qkv_bias_layout='interleaved',
    drop_path_rate=0.0,
    init_std=0.08,
    loss=dict(type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.1, num_classes=10, mode='original'),
    data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', mean=[4.8], std=[6.08], num_classes=10),
)

pipeline = [dict(type='mmpretrain.PackInputs', meta_keys=('img_id', 'img_path'))]
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    drop_last=True,
    dataset=dict(type='Digits', split='train', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    dataset=dict(type='Digits', split='val', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = dict(
    batch_size=500,
    num_workers=0,
    dataset=dict(type='Digits', split='test', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='mmpretrain.Accuracy', topk=(1,))
test_evaluator = dict(type='mmpretrain.Accuracy', topk=(1,))

train_cfg = dict(by_epoch=True, max_epochs=45, val_interval=5)
val_cfg = dict(type='SubnetValLoop', subnets=['smallest', 'middle', 'largest'])
test_cfg = dict(type='SubnetTestLoop', subnets=['smallest', 'middle', 'largest'])

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=5e-3, weight_decay=0.05, fused=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, end=2, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=2, end=45, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=32, enable=False)

default_hooks = dict(visualization=dict(type='mmpretrain.VisualizationHook', enable=False))
visualizer = dict(type='mmpretrain.UniversalVisualizer')
find_unused_parameters = True
