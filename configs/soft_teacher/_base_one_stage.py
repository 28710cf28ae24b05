# One-stage detectors: ours, thresholds and burn-in have not been tuned on COCO. The authors advise to train on labelled images
# first.
_base_ = ['../_base_/default_runtime.py', '_coco.py']

model = dict(
    detector=dict(
        _delete_=True,
        _scope_='mmdet',
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
            num_classes=80,
            in_channels=256,
            stacked_convs=4,
            feat_channels=256,
            loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
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
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=4000, max_keep_ckpts=2, save_best='teacher/coco/bbox_mAP', rule='greater'),
    visualization=dict(type='DetectionPictures', enable=False),
)
