# What the paper's runs share. Optimiser, augmentation, queue, temperature and projection are MoCo v2's; the layout of the
# mask prediction head, the regions, the fill and the negatives of the same image are ours: no code was published.
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.maskco'], allow_failed_imports=False)
inferencer = dict(type='MaskCoInferencer')

data_preprocessor = dict(type='ViewDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
model = dict(
    type='MaskCo',
    backbone=dict(type='mmpretrain.ResNet', depth=50, norm_cfg=dict(type='BN'), zero_init_residual=False),
    neck=dict(type='mmpretrain.MoCoV2Neck', in_channels=2048, hid_channels=2048, out_channels=128, with_avg_pool=False),
    mph=dict(type='MaskPredictionHead', channels=2048, mid_channels=512, num_blocks=2, kernel=3),
    queue_len=65536,
    feat_dim=128,
    momentum=0.999,
    temperature=0.2,
    region='box',
    mask='mean',
    mph_side='query',
)

photometric = [
    dict(
        type='RandomApply',
        transforms=[dict(type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)],
        prob=0.8,
    ),
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.299, 0.587, 0.114)),
    dict(type='mmpretrain.GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=0.5),
]
views = dict(
    type='TwoRegionViews',
    size=224,
    crop_scale=(0.2, 1.0),
    flip=0.5,
    photometric=photometric,
    share_crop=False,
    min_overlap=0.2,
    min_common_side=64,
    num_regions=1,
    region_scale=(0.1, 0.3),
    region_ratio=(0.5, 2.0),
    min_region_side=32,
    num_negatives=4,
    negative_iou=0.1,
)
train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    dataset=dict(
        type='UnlabelledImages',
        data_root='data/imagenet/train',
        min_side=32,
        pipeline=[views, dict(type='PackRegionViews')],
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.03, momentum=0.9, weight_decay=1e-4))
train_cfg = dict(by_epoch=True, max_epochs=200)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=200, by_epoch=True, convert_to_iter_based=True)]
default_hooks = dict(checkpoint=dict(interval=10))
custom_hooks = [dict(type='PretextWatch')]
auto_scale_lr = dict(base_batch_size=256, enable=False)
env_cfg = dict(cudnn_benchmark=True)
