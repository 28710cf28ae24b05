# Fine-tuning of the searched small network at 384 pixels (AutoFormer, table 3). The paper does not give its settings:
# optimiser, schedule and augmentation are ours, after DeiT's.
_base_ = ['../_base_/default_runtime.py', './_base_images.py', './_searched_small.py']

model = dict(
    type='AutoFormerViT',
    arch={{_base_.arch}},
    num_classes=1000,
    img_size=384,
    drop_path_rate=0.1,
    # written by tools/model_converters/autoformer_export.py; positions are interpolated, another head starts anew
    pretrained='{{$AUTOFORMER_PRETRAINED:checkpoints/autoformer-small_searched.pth}}',
    loss=dict(type='mmpretrain.CrossEntropyLoss'),
    data_preprocessor=dict(
        type='mmpretrain.ClsDataPreprocessor',
        num_classes=1000,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
)

# CIFAR's images are arrays already and need no loading
augmentation = [
    dict(type='mmpretrain.RandomResizedCrop', scale=384, backend='pillow', interpolation='bicubic'),
    dict(type='mmpretrain.RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='mmpretrain.PackInputs'),
]
# resize to int(256 / 224 * 384), then crop, as the official code does for every size of input
preparation = [
    dict(type='mmpretrain.ResizeEdge', scale=438, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='mmpretrain.CenterCrop', crop_size=384),
    dict(type='mmpretrain.PackInputs'),
]
loading = dict(type='LoadImageFromFile')
train_dataloader = dict(
    batch_size=64,
    dataset=dict(pipeline=[loading, *augmentation]),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(batch_size=64, dataset=dict(pipeline=[loading, *preparation]))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmpretrain.Accuracy', topk=(1,))
test_evaluator = val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=5)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys=dict(cls_token=dict(decay_mult=0.0), pos_embed=dict(decay_mult=0.0)),
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=5, end=100, eta_min=1e-6),
]
auto_scale_lr = dict(base_batch_size=512, enable=False)
default_hooks = dict(
    # in 16 bit a loss may overflow now and then (gradients that do are the loss scaler's business); many are a fault
    non_finite=dict(max_skips=100),
    visualization=dict(type='mmpretrain.VisualizationHook', enable=False),
)
visualizer = dict(type='mmpretrain.UniversalVisualizer')
randomness = dict(diff_rank_seed=True)  # Mixup, CutMix and drop path differ from GPU to GPU; architectures never do
