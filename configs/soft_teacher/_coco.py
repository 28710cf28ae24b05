# Shared by all COCO recipes, values of the official recipe for 10 % of COCO: Faster R-CNN, R50-FPN in caffe style, 8 GPUs
# with 1 labelled and 4 unlabelled images each. tools/dataset_converters/split_coco_semi.py writes the annotation files. The
# backbone starts from ImageNet weights of detectron2, which the first run downloads; README.md says what to do offline.

custom_imports = dict(imports=['openmsra.soft_teacher'], allow_failed_imports=False)
inferencer = dict(type='SoftTeacherInferencer')

detector = dict(
    _scope_='mmdet',
    type='FasterRCNN',
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        style='caffe',
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://detectron2/resnet50_caffe'),
    ),
    neck=dict(type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=5),
    rpn_head=dict(
        type='RPNHead',
        in_channels=256,
        feat_channels=256,
        anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0, 0.0, 0.0, 0.0], target_stds=[1.0, 1.0, 1.0, 1.0]),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0),
    ),
    roi_head=dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
            out_channels=256,
            featmap_strides=[4, 8, 16, 32],
        ),
        bbox_head=dict(
            type='Shared2FCBBoxHead',
            in_channels=256,
            fc_out_channels=1024,
            roi_feat_size=7,
            num_classes=80,
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0, 0.0, 0.0, 0.0], target_stds=[0.1, 0.1, 0.2, 0.2]),
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
            sampler=dict(type='RandomSampler', num=256, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        rpn_proposal=dict(nms_pre=2000, max_per_img=1000, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.5,
                min_pos_iou=0.5,
                match_low_quality=False,
                ignore_iof_thr=-1,
            ),
            sampler=dict(type='RandomSampler', num=512, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True),
            pos_weight=-1,
            debug=False,
        ),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=1000, max_per_img=1000, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100),
    ),
)
image_preprocessor = dict(
    type='mmdet.DetDataPreprocessor', mean=[103.530, 116.280, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False, pad_size_divisor=32
)
model = dict(
    type='SoftTeacher',
    detector=detector,
    data_preprocessor=dict(type='BranchDataPreprocessor', data_preprocessor=image_preprocessor),
    semi_train_cfg=dict(
        pseudo_label_initial_score_thr=0.5,
        rpn_pseudo_thr=0.9,
        cls_pseudo_thr=0.9,
        reg_pseudo_thr=0.02,
        jitter_times=10,
        jitter_scale=0.06,
        unsup_weight=4.0,
    ),
    semi_test_cfg=dict(predict_on='teacher'),
    mean_teacher=dict(momentum=0.999),
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
        'flip',
        'flip_direction',
        'homography_matrix',
        'hidden_bboxes',
        'hidden_labels',
    ),
)
resize = dict(type='RandomResize', resize_type='mmdet.Resize', scale=[(1333, 400), (1333, 1200)], keep_ratio=True)
flip = dict(type='mmdet.RandomFlip', prob=0.5)
labelled_views = [resize, flip, dict(type='OneColourOp'), pack]
weak_views = [resize, flip, pack]
strong_views = [
    resize,
    flip,
    dict(type='mmdet.RandomOrder', transforms=[dict(type='OneColourOp'), dict(type='OneGeometricOp')]),
    dict(type='EraseSquares'),
    pack,
]
labelled = dict(
    type='LabelledCoco',
    data_root='data/coco/',
    ann_file='annotations/semi_supervised/instances_train2017.1@10.json',
    data_prefix=dict(img='train2017/'),
    filter_cfg=dict(filter_empty_gt=True, min_size=32),
    pipeline=[
        dict(type='LoadCheckedImage'),
        dict(type='mmdet.LoadAnnotations', with_bbox=True),
        dict(type='ViewBranches', branch_field=branches, sup=labelled_views),
    ],
)
unlabelled = dict(
    type='UnlabelledCoco',
    data_root='data/coco/',
    ann_file='annotations/semi_supervised/instances_train2017.1@10-unlabeled.json',
    data_prefix=dict(img='train2017/'),
    filter_cfg=dict(filter_empty_gt=False, min_size=32),
    pipeline=[
        dict(type='LoadCheckedImage'),
        dict(type='EmptyAnnotations'),
        dict(type='ViewBranches', branch_field=branches, unsup_teacher=weak_views, unsup_student=strong_views),
    ],
)
train_dataloader = dict(
    batch_size=5,
    num_workers=5,
    persistent_workers=True,
    dataset=dict(type='ConcatDataset', datasets=[labelled, unlabelled]),
    sampler=dict(type='MultiSourceSampler', batch_size=5, source_ratio=[1, 4], mode='binomial'),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(
        type='LabelledCoco',
        data_root='data/coco/',
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=[
            dict(type='LoadCheckedImage'),
            dict(type='mmdet.Resize', scale=(1333, 800), keep_ratio=True),
            dict(type='mmdet.LoadAnnotations', with_bbox=True),
            dict(type='mmdet.PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
        ],
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CheckedCocoMetric', ann_file='data/coco/annotations/instances_val2017.json', metric='bbox')
test_evaluator = val_evaluator

optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
)
train_cfg = dict(by_epoch=False, max_iters=180000, val_interval=4000)
val_cfg = dict(type='TeacherStudentValLoop')
test_cfg = dict()
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, begin=0, end=500, by_epoch=False),
    dict(type='MultiStepLR', milestones=[120000, 160000], gamma=0.1, by_epoch=False),
]
custom_hooks = [
    dict(type='NumClassesHook'),
    dict(type='PseudoLabelMonitor', interval=50, picture_interval=4000),
    dict(type='ExportDetector'),
]
log_processor = dict(by_epoch=False)
auto_scale_lr = dict(base_batch_size=40, enable=False)
