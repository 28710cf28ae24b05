# One GPU: an eighth of the batch, of the rate and of the teacher's step, eight times the iterations (the authors' advice).
_base_ = '_base_coco.py'

model = dict(mean_teacher=dict(momentum=0.999875))
optim_wrapper = dict(optimizer=dict(lr=0.00125))
train_cfg = dict(max_iters=1440000, val_interval=32000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, begin=0, end=4000, by_epoch=False),
    dict(type='MultiStepLR', milestones=[960000, 1280000], gamma=0.1, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(interval=32000))
auto_scale_lr = dict(base_batch_size=5, enable=False)
