# HTC++ with Swin-L, boxes and masks. The paper reports 60.4 box and 52.4 mask AP on test-dev with several sizes; its code and
# schedule were never published. From the appendix of the Swin paper: short side 400 to 1400, long side to 1600, soft-NMS, a
# global self-attention layer behind the last stage, InstaBoost (its defaults in mmdet, on labelled images), ImageNet-22K.
# Schedule and thresholds are those of R50, the sizes of the test are ours.
_base_ = '_base_coco_full.py'

bbox_head = dict(
    type='Shared2FCBBoxHead',
    in_channels=256,
    fc_out_channels=1024,
    roi_feat_size=7,
    num_classes=80,
    reg_class_agnostic=True,
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
)
coder = dict(type='DeltaXYWHBBoxCoder', target_means=[0.0, 0.0, 0.0, 0.0])
mask_head = dict(
    type='HTCMaskHead',
    num_convs=4,
    in_channels=256,
    conv_out_channels=256,
    num_classes=80,
    loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
)
assigner = dict(type='MaxIoUAssigner', match_low_quality=False, ignore_iof_thr=-1)
rcnn = dict(
    sampler=dict(type='RandomSampler', num=512, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True),
    mask_size=28,
    pos_weight=-1,
    debug=False,
)
model = dict(
    detector=dict(
        type='HybridTaskCascade',
        backbone=dict(
            _delete_=True,
            type='SwinTransformer',
            pretrain_img_size=384,
            embed_dims=192,
            depths=[2, 2, 18, 2],
            num_heads=[6, 12, 24, 48],
            window_size=12,
            drop_path_rate=0.3,
            patch_norm=True,
            out_indices=(0, 1, 2, 3),
            with_cp=True,
            convert_weights=True,
            init_cfg=dict(type='Pretrained', checkpoint='checkpoints/swin_large_patch4_window12_384_22k.pth'),
        ),
        neck=dict(type='openmsra.GlobalAttentionFPN', num_heads=48, in_channels=[192, 384, 768, 1536]),
        roi_head=dict(
            _delete_=True,
            type='HybridTaskCascadeRoIHead',
            interleaved=True,
            mask_info_flow=True,
            num_stages=3,
            stage_loss_weights=[1, 0.5, 0.25],
            bbox_roi_extractor={{_base_.detector.roi_head.bbox_roi_extractor}},
            bbox_head=[
                dict(bbox_head, bbox_coder=dict(coder, target_stds=[0.1, 0.1, 0.2, 0.2])),
                dict(bbox_head, bbox_coder=dict(coder, target_stds=[0.05, 0.05, 0.1, 0.1])),
                dict(bbox_head, bbox_coder=dict(coder, target_stds=[0.033, 0.033, 0.067, 0.067])),
            ],
            mask_roi_extractor=dict(
                type='SingleRoIExtractor',
                out_channels=256,
                featmap_strides=[4, 8, 16, 32],
                roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0),
            ),
            mask_head=[dict(mask_head, with_conv_res=False), mask_head, mask_head],
        ),
        train_cfg=dict(
            rcnn=[
                dict(rcnn, assigner=dict(assigner, pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5)),
                dict(rcnn, assigner=dict(assigner, pos_iou_thr=0.6, neg_iou_thr=0.6, min_pos_iou=0.6)),
                dict(rcnn, assigner=dict(assigner, pos_iou_thr=0.7, neg_iou_thr=0.7, min_pos_iou=0.7)),
            ],
        ),
        test_cfg=dict(rcnn=dict(_delete_=True, score_thr=0.001, nms=dict(type='soft_nms'), max_per_img=100, mask_thr_binary=0.5)),
    ),
    data_preprocessor=dict(
        data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True, pad_mask=True)
    ),
    semi_train_cfg=dict(mask_margin=0.1),
)
resize = dict(type='RandomResize', resize_type='mmdet.Resize', scale=[(1600, 400), (1600, 1400)], keep_ratio=True)
train_dataloader = _base_.train_dataloader
train_dataloader.dataset.datasets[0].pipeline[1].with_mask = True
train_dataloader.dataset.datasets[0].pipeline[2].sup[0] = resize
train_dataloader.dataset.datasets[0].pipeline[1:1] = [dict(type='mmdet.InstaBoost')]
train_dataloader.dataset.datasets[1].pipeline[2].unsup_teacher[0] = resize
train_dataloader.dataset.datasets[1].pipeline[2].unsup_student[0] = resize
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05))
val_evaluator = dict(metric=['bbox', 'segm'])
test_cfg = dict(type='MultiScaleTestLoop', nms=dict(type='soft_nms', iou_threshold=0.5, min_score=1e-3), max_per_img=100)
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadCheckedImage'),
            dict(
                type='TestTimeAug',
                transforms=[
                    [
                        dict(type='mmdet.Resize', scale=(1600, 400), keep_ratio=True),
                        dict(type='mmdet.Resize', scale=(1600, 600), keep_ratio=True),
                        dict(type='mmdet.Resize', scale=(1600, 800), keep_ratio=True),
                        dict(type='mmdet.Resize', scale=(1600, 1000), keep_ratio=True),
                        dict(type='mmdet.Resize', scale=(1600, 1200), keep_ratio=True),
                        dict(type='mmdet.Resize', scale=(1600, 1400), keep_ratio=True),
                    ],
                    [dict(type='mmdet.RandomFlip', prob=0.0), dict(type='mmdet.RandomFlip', prob=1.0)],
                    [
                        dict(
                            type='mmdet.PackDetInputs',
                            meta_keys=(
                                'img_id',
                                'img_path',
                                'ori_shape',
                                'img_shape',
                                'scale_factor',
                                'flip',
                                'flip_direction',
                            ),
                        )
                    ],
                ],
            ),
        ]
    )
)
