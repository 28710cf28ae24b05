# The supervised baseline on all of COCO train2017.
_base_ = '_base_coco.py'

labelled = _base_.labelled
labelled.ann_file = 'annotations/instances_train2017.json'
train_dataloader = dict(
    _delete_=True,
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    dataset=labelled,
    sampler=dict(type='InfiniteSampler', shuffle=True),
)
optim_wrapper = dict(optimizer=dict(lr=0.02))
train_cfg = dict(max_iters=720000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, begin=0, end=500, by_epoch=False),
    dict(type='MultiStepLR', milestones=[480000, 640000], gamma=0.1, by_epoch=False),
]
auto_scale_lr = dict(base_batch_size=16, enable=False)
