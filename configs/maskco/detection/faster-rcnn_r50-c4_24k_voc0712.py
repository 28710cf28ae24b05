# VOC detection on the C4 map: trainval07+12, 24k iterations of 16 images, test2007, AP over ten thresholds, all layers
# trained, which is the usual protocol of self-supervised backbones; ours. The fourth stage starts from the same file.
_base_ = 'mmdet::pascal_voc/faster-rcnn_r50-caffe-c4_ms-18k_voc0712.py'

norm_cfg = dict(type='SyncBN', requires_grad=True)
init_cfg = dict(type='Pretrained', checkpoint='work_dirs/maskco_backbone.pth', prefix='backbone.')
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(
        frozen_stages=-1, norm_cfg=norm_cfg, norm_eval=False, style='pytorch', init_cfg=dict(_delete_=True, **init_cfg)
    ),
    roi_head=dict(shared_head=dict(norm_cfg=norm_cfg, norm_eval=False, style='pytorch', init_cfg=init_cfg)),
)

train_cfg = dict(max_iters=24000, val_interval=6000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', begin=0, end=24000, by_epoch=False, milestones=[18000, 22000], gamma=0.1),
]
val_evaluator = dict(eval_mode='area', iou_thrs=[0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])
test_evaluator = val_evaluator
