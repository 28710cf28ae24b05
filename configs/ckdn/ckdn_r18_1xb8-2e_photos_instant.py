# The quartic alignment term diverges from a random start, hence power 1.
# Labels are an error against the pristine photograph, not human scores.
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.ckdn', 'openmsra.miniatures.filtered_photos'], allow_failed_imports=False)
inferencer = dict(type='CKDNInferencer')

model = dict(type='CKDN', depth=18, base_channels=8, head_dim=64, loss=dict(kd_weight=0.3, kd_power=1))

pipeline = [dict(type='PackPair')]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    drop_last=True,
    dataset=dict(type='PhotoPairs', split='train', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    dataset=dict(type='PhotoPairs', split='val', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=0,
    dataset=dict(type='PhotoPairs', split='val', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=1)
val_cfg = dict()
test_cfg = dict()
custom_hooks = [dict(type='TwoStageHook', rank_epochs=1)]
val_evaluator = dict(type='IQACorrelation', group_by='scene')
test_evaluator = dict(type='IQACorrelation', group_by='scene')
auto_scale_lr = dict(base_batch_size=8, enable=False)
find_unused_parameters = True
