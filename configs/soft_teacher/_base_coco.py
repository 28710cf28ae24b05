# Soft Teacher with a part of COCO's labels: 10 %, fold 1.
_base_ = ['../_base_/default_runtime.py', '_coco.py']

default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=4000, max_keep_ckpts=2, save_best='teacher/coco/bbox_mAP', rule='greater'),
    visualization=dict(type='DetectionPictures', enable=False),
)
