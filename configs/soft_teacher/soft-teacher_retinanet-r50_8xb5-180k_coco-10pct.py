# RetinaNet: ours, thresholds and burn-in have not been tuned on COCO. The authors advise to train on labelled images first.
_base_ = '_base_coco.py'

model = dict(
    detector=dict(
        _delete_=True,
        _scope_='mmdet',
        type='RetinaNet',
        backbone={{_base_.detector.backbone}},
        neck=dict(
            type='FPN',
            in_channels=[256, 512, 1024, 2048],
            out_channels=256,
            start_level=1,
            add_extra_convs='on_output',
            num_outs=5,
        ),
        bbox_head=dict(
            type='RetinaHead',
            num_classes=80,
            in_channels=256,
            stacked_convs=4,
            feat_channels=256,
            anchor_generator=dict(
                type='AnchorGenerator',
                octave_base_scale=4,
                scales_per_octave=3,
                ratios=[0.5, 1.0, 2.0],
                strides=[8, 16, 32, 64, 128],
            ),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0, 0.0, 0.0, 0.0], target_stds=[1.0, 1.0, 1.0, 1.0]),
            loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
            loss_bbox=dict(type='L1Loss', loss_weight=1.0),
        ),
        train_cfg=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1),
            sampler=dict(type='PseudoSampler'),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        test_cfg=dict(nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100),
    ),
    semi_train_cfg=dict(
        burn_in_iters=20000,
        pseudo_label_initial_score_thr=0.3,
        rpn_pseudo_thr=0.5,
        cls_pseudo_thr=0.5,
        reg_pseudo_thr=0.05,
        unsup_weight=2.0,
    ),
)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
