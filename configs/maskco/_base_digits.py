# Digits on photographs, from installed packages; the optimiser and sizes are ours. Regions have about 0.3 to 0.6 of the side of a
# digit, so that what is hidden can be told from the rest of the stroke; 62 % of the view pairs show no common digit.
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.maskco', 'openmsra.miniatures.digit_scenes'], allow_failed_imports=False)
inferencer = dict(type='MaskCoInferencer')

data_preprocessor = dict(type='ViewDataPreprocessor', mean=[127.5, 127.5, 127.5], std=[64.0, 64.0, 64.0])
model = dict(
    type='MaskCo',
    backbone=dict(
        type='mmpretrain.ResNet_CIFAR',
        depth=18,
        base_channels=16,
        stem_channels=16,
        num_stages=3,
        strides=(2, 2, 1),
        dilations=(1, 1, 1),
        out_indices=(2,),
    ),
    neck=dict(type='mmpretrain.MoCoV2Neck', in_channels=64, hid_channels=128, out_channels=64, with_avg_pool=False),
    mph=dict(type='MaskPredictionHead', channels=64, mid_channels=32),
    queue_len=1024,
    feat_dim=64,
    momentum=0.99,
    temperature=0.2,
)

photometric = [
    dict(
        type='RandomApply',
        transforms=[dict(type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, backend='cv2')],
        prob=0.8,
    ),
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.299, 0.587, 0.114)),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    drop_last=True,
    dataset=dict(
        type='DigitScenes',
        split='train',
        count=4096,
        size=48,
        pipeline=[
            dict(
                type='TwoRegionViews',
                size=24,
                crop_scale=(0.15, 0.5),
                flip=0.0,
                photometric=photometric,
                min_overlap=0.05,
                min_common_side=6,
                min_region_side=4,
                region_scale=(0.035, 0.14),
                negative_iou=0.15,
            ),
            dict(type='PackRegionViews'),
        ],
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    dataset=dict(type='DigitScenes', split='probe', count=(600, 400), size=48, pipeline=[dict(type='PackProbe')]),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=2e-3, weight_decay=1e-4))
train_cfg = dict(by_epoch=True, max_epochs=24, val_interval=24)
val_cfg = dict()
test_cfg = dict()
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=2, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=2, end=24, T_max=22, by_epoch=True, convert_to_iter_based=True),
]
custom_hooks = [dict(type='PretextWatch')]
val_evaluator = dict(type='FrozenProbe')
test_evaluator = dict(type='FrozenProbe')
auto_scale_lr = dict(base_batch_size=64, enable=False)
