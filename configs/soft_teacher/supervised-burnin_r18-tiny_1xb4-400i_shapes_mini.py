# Burn-in of the miniature: labelled images alone. All arms start from its checkpoint.
_base_ = '_base_shapes.py'

train_dataloader = dict(
    _delete_=True,
    batch_size=4,
    num_workers=0,
    dataset={{_base_.labelled}},
    sampler=dict(type='InfiniteSampler', shuffle=True),
)
train_cfg = dict(max_iters=400, val_interval=400)
param_scheduler = [dict(type='LinearLR', start_factor=0.01, begin=0, end=30, by_epoch=False)]
custom_hooks = [dict(type='MeanTeacher', momentum=0.99)]
auto_scale_lr = dict(base_batch_size=4, enable=False)
