# Supernet training on ImageNet-1k as published: 500 epochs, batch 1024, DeiT augmentation with repeated augmentation.
_base_ = ['../_base_/default_runtime.py', './_base_images.py']

model = dict(
    type='AutoFormerSupernet',
    space='tiny',
    num_classes=1000,
    img_size=224,
    drop_path_rate=0.1,
    loss=dict(type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.1, num_classes=1000, mode='original'),
    data_preprocessor=dict(
        type='mmpretrain.ClsDataPreprocessor',
        num_classes=1000,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
        batch_augments=dict(
            augments=[dict(type='mmpretrain.Mixup', alpha=0.8), dict(type='mmpretrain.CutMix', alpha=1.0)],
            probs=[0.5, 0.5],
        ),
    ),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmpretrain.RandomResizedCrop', scale=224, backend='pillow', interpolation='bicubic'),
    dict(type='mmpretrain.RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment',
        _scope_='mmpretrain',  # its policies are built in there
        policies='timm_increasing',
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic'),
    ),
    dict(
        type='mmpretrain.RandomErasing',
        erase_prob=0.25,
        mode='rand',
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=[103.53, 116.28, 123.675],
        fill_std=[57.375, 57.12, 58.395],
    ),
    dict(type='mmpretrain.PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmpretrain.ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='mmpretrain.CenterCrop', crop_size=224),
    dict(type='mmpretrain.PackInputs'),
]
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        type='mmpretrain.ImageNet',
        data_root='{{$IMAGENET_ROOT:data/imagenet}}',
        split='train',
        pipeline=train_pipeline,
    ),
    sampler=dict(type='mmpretrain.RepeatAugSampler', num_repeats=3, shuffle=True),
)
val_dataloader = dict(
    batch_size=256,
    dataset=dict(
        type='mmpretrain.ImageNet',
        data_root='{{$IMAGENET_ROOT:data/imagenet}}',
        split='val',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmpretrain.Accuracy', topk=(1, 5))
test_evaluator = val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=500, val_interval=5)
val_cfg = dict(type='SubnetValLoop', subnets=['smallest', 'middle', 'largest'])
test_cfg = dict(type='SubnetTestLoop', subnets=['smallest', 'middle', 'largest'])

# The relative-position tables do get weight decay, as in the official code; 1-D tensors and positions do not.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05, betas=(0.9, 0.999), eps=1e-8),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys=dict(cls_token=dict(decay_mult=0.0), pos_embed=dict(decay_mult=0.0)),
    ),
)
# The cosine runs from epoch 0, as in the official code: after the 20 warm-up epochs it is not at its top any more. mmengine's
# LinearLR is at its end in epoch end - 1.
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=21),
    dict(type='CosineAnnealingLR', T_max=500, eta_min=1e-5, by_epoch=True, begin=0, end=500),
]
auto_scale_lr = dict(base_batch_size=1024, enable=False)

default_hooks = dict(
    logger=dict(interval=100),
    # in 16 bit a loss may overflow now and then (gradients that do are the loss scaler's business); many are a fault
    non_finite=dict(max_skips=100),
    visualization=dict(type='mmpretrain.VisualizationHook', enable=False),
)
visualizer = dict(type='mmpretrain.UniversalVisualizer')
find_unused_parameters = True
randomness = dict(diff_rank_seed=True)  # Mixup, CutMix and drop path differ from GPU to GPU; architectures never do
