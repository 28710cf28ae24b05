# All of COCO train2017 with its labels and unlabeled2017 without.
_base_ = '_base_coco.py'

model = dict(
    detector=dict(
        backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://detectron2/resnet101_caffe')),
    ),
    semi_train_cfg=dict(unsup_weight=2.0),
)
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
train_cfg = dict(max_iters=1080000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, begin=0, end=500, by_epoch=False),
    dict(type='MultiStepLR', milestones=[720000, 960000], gamma=0.1, by_epoch=False),
]
auto_scale_lr = dict(base_batch_size=64, enable=False)
