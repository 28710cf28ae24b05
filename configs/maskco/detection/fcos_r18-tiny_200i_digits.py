# Transfer in miniature: a small FCOS on the map of a backbone that was pre-trained on the same kind of scenes, 200 iterations
# on 300 labelled ones. benchmarks/maskco_claims.py trains it and sets the checkpoint; without one it starts from random weights.
_base_ = '../../_base_/default_runtime.py'

custom_imports = dict(
    imports=['openmsra.maskco', 'mmdet.models', 'mmdet.datasets.transforms', 'mmdet.evaluation'], allow_failed_imports=False
)
default_scope = 'openmsra'

model = dict(
    _scope_='mmdet',
    type='FCOS',
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[127.5] * 3, std=[64.0] * 3, bgr_to_rgb=False, pad_size_divisor=4),
    backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18, base_channels=16, stem_channels=16, num_stages=3,
                  strides=(2, 2, 1), dilations=(1, 1, 1), out_indices=(2,)),
    neck=dict(type='ChannelMapper', in_channels=[64], out_channels=32, kernel_size=1, num_outs=1),
    bbox_head=dict(
        type='FCOSHead',
        num_classes=10,
        in_channels=32,
        feat_channels=32,
        stacked_convs=1,
        strides=[4],
        regress_ranges=((-1, 1e8),),
        centerness_on_reg=True,
        norm_on_bbox=True,
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        norm_cfg=dict(type='GN', num_groups=8, requires_grad=True),
    ),
    test_cfg=dict(nms_pre=144, min_bbox_size=0, score_thr=0.02, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20),
)  # fmt: skip

pipeline = [
    dict(
        type='KeyMapper',
        mapping=dict(gt_bboxes='gt_boxes', gt_bboxes_labels='gt_box_labels'),
        auto_remap=False,
        transforms=[
            dict(type='Resize', scale=(48, 48)),
            dict(type='mmdet.PackDetInputs', meta_keys=('ori_shape', 'img_shape', 'scale_factor')),
        ],
    ),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    dataset=dict(type='DigitScenes', split='probe', count=(300, 0), size=48, pipeline=pipeline),
    sampler=dict(type='InfiniteSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=50,
    num_workers=0,
    dataset=dict(type='DigitScenes', split='probe', count=(0, 200), size=48, pipeline=pipeline, test_mode=True),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmdet.VOCMetric', metric='mAP', eval_mode='area')
test_evaluator = val_evaluator
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=2e-3, weight_decay=1e-4))
train_cfg = dict(by_epoch=False, max_iters=200, val_interval=200)
val_cfg = dict()
test_cfg = dict()
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=20, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=20, end=200, T_max=180, by_epoch=False),
]
default_hooks = dict(checkpoint=None)
log_processor = dict(by_epoch=False)
