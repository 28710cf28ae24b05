# Coloured cut-outs on photographs of installed packages: few labelled and 800 unlabelled images of 96 pixels. The detector is
# trained from scratch; sizes, schedule and thresholds are ours. The class is the hue: operations that change it are left out.
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.soft_teacher', 'openmsra.miniatures.shape_scenes'], allow_failed_imports=False)
inferencer = dict(type='SoftTeacherInferencer')

norm_cfg = dict(type='GN', num_groups=8, requires_grad=True)
detector = dict(
    _scope_='mmdet',
    type='FasterRCNN',
    backbone=dict(
        type='ResNet',
        depth=18,
        base_channels=16,
        stem_channels=16,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(1, 2),
        norm_cfg=norm_cfg,
        norm_eval=False,
        style='pytorch',
    ),
    neck=dict(type='FPN', in_channels=[32, 64], out_channels=32, num_outs=2),
    rpn_head=dict(
        type='RPNHead',
        in_channels=32,
        feat_channels=32,
        anchor_generator=dict(type='AnchorGenerator', scales=[2.0, 3.2], ratios=[1.0], strides=[8, 16]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[1.0] * 4),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0),
    ),
    roi_head=dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            out_channels=32,
            featmap_strides=[8, 16],
            finest_scale=16,
            roi_layer=dict(type='RoIAlign', output_size=5, sampling_ratio=1),
        ),
        bbox_head=dict(
            type='Shared2FCBBoxHead',
            in_channels=32,
            fc_out_channels=128,
            roi_feat_size=5,
            num_classes=3,
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]),
            reg_class_agnostic=False,
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type='L1Loss', loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.7,
                neg_iou_thr=0.3,
                min_pos_iou=0.3,
                match_low_quality=True,
                ignore_iof_thr=-1,
            ),
            sampler=dict(type='RandomSampler', num=64, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        rpn_proposal=dict(nms_pre=150, max_per_img=64, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.5,
                min_pos_iou=0.5,
                match_low_quality=False,
                ignore_iof_thr=-1,
            ),
            sampler=dict(type='RandomSampler', num=48, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True),
            pos_weight=-1,
            debug=False,
        ),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=150, max_per_img=64, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20),
    ),
)
model = dict(
    type='SoftTeacher',
    detector=detector,
    data_preprocessor=dict(
        type='BranchDataPreprocessor',
        data_preprocessor=dict(
            type='mmdet.DetDataPreprocessor',
            mean=[127.5, 127.5, 127.5],
            std=[64.0, 64.0, 64.0],
            bgr_to_rgb=True,
            pad_size_divisor=16,
        ),
    ),
    semi_train_cfg=dict(
        pseudo_label_initial_score_thr=0.5,
        rpn_pseudo_thr=0.7,
        cls_pseudo_thr=0.7,
        reg_pseudo_thr=0.042,
        jitter_times=10,
        jitter_scale=0.06,
        min_pseudo_bbox_wh=(2.0, 2.0),
        unsup_weight=2.0,
    ),
    semi_test_cfg=dict(predict_on='teacher'),
    mean_teacher=dict(momentum=0.99, keep_loaded_teacher=True),
)

branches = ['sup', 'unsup_teacher', 'unsup_student']
pack = dict(
    type='mmdet.PackDetInputs',
    meta_keys=(
        'img_id',
        'img_path',
        'ori_shape',
        'img_shape',
        'scale_factor',
        'homography_matrix',
        'hidden_bboxes',
        'hidden_labels',
    ),
)
resize = dict(type='RandomResize', resize_type='mmdet.Resize', scale=[(112, 80), (112, 112)], keep_ratio=True)
flip = dict(type='mmdet.RandomFlip', prob=0.5)
colour = dict(type='OneColourOp', ops=('identity', 'contrast', 'brightness', 'sharpness'))
labelled = dict(
    type='ShapeScenes',
    ann_file='labelled.0.json',
    filter_cfg=dict(filter_empty_gt=True),
    pipeline=[
        dict(type='LoadCheckedImage'),
        dict(type='mmdet.LoadAnnotations', with_bbox=True),
        dict(type='ViewBranches', branch_field=branches, sup=[resize, flip, colour, pack]),
    ],
)
unlabelled = dict(
    type='UnlabelledShapeScenes',
    ann_file='unlabelled.json',
    hidden=True,
    pipeline=[
        dict(type='LoadCheckedImage'),
        dict(type='EmptyAnnotations'),
        dict(
            type='ViewBranches',
            branch_field=branches,
            unsup_teacher=[resize, flip, pack],
            unsup_student=[
                resize,
                flip,
                dict(type='mmdet.RandomOrder', transforms=[colour, dict(type='OneGeometricOp')]),
                dict(type='EraseSquares'),
                pack,
            ],
        ),
    ],
)
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    dataset=dict(type='ConcatDataset', datasets=[labelled, unlabelled]),
    sampler=dict(type='MultiSourceSampler', batch_size=8, source_ratio=[1, 1]),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    dataset=dict(
        type='ShapeScenes',
        ann_file='val.json',
        test_mode=True,
        pipeline=[
            dict(type='LoadCheckedImage'),
            dict(type='mmdet.Resize', scale=(96, 96), keep_ratio=True),
            dict(type='mmdet.PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
        ],
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CheckedCocoMetric', ann_file='data/shape_scenes/val.json', metric='bbox', format_only=False)
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=2e-3, weight_decay=1e-2), clip_grad=dict(max_norm=10, norm_type=2))
train_cfg = dict(by_epoch=False, max_iters=200, val_interval=200)
val_cfg = dict(type='TeacherStudentValLoop')
test_cfg = dict()
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=20, by_epoch=False),
    dict(type='MultiStepLR', milestones=[150], gamma=0.1, by_epoch=False),
]
custom_hooks = [dict(type='NumClassesHook'), dict(type='PseudoLabelMonitor', interval=50, picture_interval=200)]
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=400, max_keep_ckpts=1),
    visualization=dict(type='DetectionPictures', enable=False),
)
log_processor = dict(by_epoch=False, window_size=20)
auto_scale_lr = dict(base_batch_size=8, enable=False)
