# Boards of DeepPCB with few labels: 10 labelled and 990 unlabelled images of 320 pixels, six kinds of defects. The detector is
# trained from scratch; sizes, schedule and thresholds are ours, for a processor. For your own images: a COCO file of the labelled
# ones and one of the unlabelled ones (tools/dataset_converters/split_coco_semi.py), and the number of classes.
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.soft_teacher'], allow_failed_imports=False)
inferencer = dict(type='SoftTeacherInferencer')

norm_cfg = dict(type='GN', num_groups=8, requires_grad=True)
detector = dict(
    _scope_='mmdet',
    type='FasterRCNN',
    backbone=dict(
        type='ResNet',
        depth=18,
        base_channels=32,
        stem_channels=32,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(1, 2),
        norm_cfg=norm_cfg,
        norm_eval=False,
        style='pytorch',
    ),
    neck=dict(type='FPN', in_channels=[64, 128], out_channels=64, num_outs=2),
    rpn_head=dict(
        type='RPNHead',
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(type='AnchorGenerator', scales=[1.5, 3.0], ratios=[1.0], strides=[8, 16]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[1.0] * 4),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0),
    ),
    roi_head=dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            out_channels=64,
            featmap_strides=[8, 16],
            finest_scale=16,
            roi_layer=dict(type='RoIAlign', output_size=5, sampling_ratio=1),
        ),
        bbox_head=dict(
            type='Shared2FCBBoxHead',
            in_channels=64,
            fc_out_channels=128,
            roi_feat_size=5,
            num_classes=6,
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
        rpn_pseudo_thr=0.8,
        cls_pseudo_thr=0.8,
        reg_pseudo_thr=0.03,
        jitter_times=10,
        jitter_scale=0.06,
        min_pseudo_bbox_wh=(2.0, 2.0),
        unsup_weight=2.0,
    ),
    semi_test_cfg=dict(predict_on='teacher'),
    mean_teacher=dict(momentum=0.99, keep_loaded_teacher=True),
)

metainfo = dict(classes=('open', 'short', 'mousebite', 'spur', 'copper', 'pin-hole'))
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
resize = dict(type='RandomResize', resize_type='mmdet.Resize', scale=[(352, 288), (352, 352)], keep_ratio=True)
flip = dict(type='mmdet.RandomFlip', prob=0.5)
colour = dict(type='OneColourOp')
labelled = dict(
    type='LabelledCoco',
    metainfo=metainfo,
    data_root='data/deeppcb/',
    ann_file='annotations/semi_1@1_labeled.json',
    data_prefix=dict(img=''),
    filter_cfg=dict(filter_empty_gt=True),
    pipeline=[
        dict(type='LoadCheckedImage'),
        dict(type='mmdet.LoadAnnotations', with_bbox=True),
        dict(type='ViewBranches', branch_field=branches, sup=[resize, flip, colour, pack]),
    ],
)
unlabelled = dict(
    type='UnlabelledCoco',
    metainfo=metainfo,
    data_root='data/deeppcb/',
    ann_file='annotations/semi_1@1_unlabeled.json',
    data_prefix=dict(img=''),
    filter_cfg=dict(filter_empty_gt=False),
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
    batch_size=4,
    num_workers=0,
    dataset=dict(type='ConcatDataset', datasets=[labelled, unlabelled]),
    sampler=dict(type='MultiSourceSampler', batch_size=4, source_ratio=[1, 1]),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    dataset=dict(
        type='LabelledCoco',
        metainfo=metainfo,
        data_root='data/deeppcb/',
        ann_file='annotations/instances_test.json',
        data_prefix=dict(img=''),
        test_mode=True,
        pipeline=[
            dict(type='LoadCheckedImage'),
            dict(type='mmdet.Resize', scale=(320, 320), keep_ratio=True),
            dict(type='mmdet.LoadAnnotations', with_bbox=True),
            dict(type='mmdet.PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
        ],
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='CheckedCocoMetric', ann_file='data/deeppcb/annotations/instances_test.json', metric='bbox', format_only=False
)
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-2), clip_grad=dict(max_norm=10, norm_type=2))
train_cfg = dict(by_epoch=False, max_iters=800, val_interval=800)
val_cfg = dict(type='TeacherStudentValLoop')
test_cfg = dict()
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=20, by_epoch=False),
    dict(type='MultiStepLR', milestones=[650], gamma=0.1, by_epoch=False),
]
custom_hooks = [dict(type='NumClassesHook'), dict(type='PseudoLabelMonitor', interval=50, picture_interval=400)]
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=400, max_keep_ckpts=1),
    visualization=dict(type='DetectionPictures', enable=False),
)
log_processor = dict(by_epoch=False, window_size=20)
auto_scale_lr = dict(base_batch_size=4, enable=False)
