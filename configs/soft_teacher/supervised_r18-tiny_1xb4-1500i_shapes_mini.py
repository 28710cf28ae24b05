# The supervised baseline of the miniature: the same labelled images alone. The EMA of the student is evaluated beside it.
_base_ = '_base_shapes.py'

train_dataloader = dict(
    _delete_=True,
    batch_size=4,
    num_workers=0,
    dataset={{_base_.labelled}},
    sampler=dict(type='InfiniteSampler', shuffle=True),
)
train_cfg = dict(max_iters=1500, val_interval=500)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, begin=0, end=100, by_epoch=False),
    dict(type='MultiStepLR', milestones=[1300], gamma=0.1, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(interval=500))
auto_scale_lr = dict(base_batch_size=4, enable=False)
