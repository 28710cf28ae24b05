# Soft Teacher with all of COCO train2017 labelled and unlabeled2017 without labels, 8 GPUs with 4 + 4 images each.
_base_ = ['../_base_/default_runtime.py', '_coco.py']

model = dict(semi_train_cfg=dict(unsup_weight=2.0))
labelled = _base_.labelled
labelled.ann_file = 'annotations/instances_train2017.json'
unlabelled = _base_.unlabelled
unlabelled.ann_file = 'annotations/instances_unlabeled2017.json'
unlabelled.data_prefix = dict(img='unlabeled2017/')
train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    dataset=dict(datasets=[labelled, unlabelled]),
    sampler=dict(batch_size=8, source_ratio=[1, 1]),
)
train_cfg = dict(max_iters=720000)
param_scheduler = _base_.param_scheduler
param_scheduler[1].milestones = [480000, 640000]
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=4000, max_keep_ckpts=2, save_best='teacher/coco/bbox_mAP', rule='greater'),
    visualization=dict(type='DetectionPictures', enable=False),
)
auto_scale_lr = dict(base_batch_size=64, enable=False)
