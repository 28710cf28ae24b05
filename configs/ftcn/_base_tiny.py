# Networks and data of the miniatures: made forgeries in small windows of real footage.
model = dict(
    type='FTCN',
    clip_len=8,
    size=32,
    backbone=dict(depths=(1, 1, 1), channels=8),
    head=dict(dim=64, heads=4, head_dim=16, hidden=128),
)

forgeries = dict(type='SyntheticForgeries', clip_len=8, size=32, pipeline=[dict(type='PackClip')])
train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    dataset=dict(forgeries, split='train'),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
evaluation = dict(batch_size=16, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
val_dataloader = dict(evaluation, dataset=dict(forgeries, split='val'))
test_dataloader = dict(evaluation, dataset=dict(forgeries, split='test'))

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=4e-3, weight_decay=0.05), clip_grad=dict(max_norm=1.0))
auto_scale_lr = dict(base_batch_size=16, enable=False)
