# Patches of real photographs, restored by classical and small learned restorers; labels are ranks by SSIM, not human scores.
# The quartic alignment term does not help from a random start (see the page), hence power 1. A minute of preparation.
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.ckdn', 'openmsra.miniatures.restored_photos'], allow_failed_imports=False)
inferencer = dict(type='CKDNInferencer')

model = dict(
    type='CKDN', depth=18, base_channels=16, head_dim=128, dropout=0.0, equal_branches=True, loss=dict(kd_weight=0.3, kd_power=1)
)

pipeline = [dict(type='PackPair')]
archive = 'data/ckdn_photos.npz'
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    drop_last=True,
    dataset=dict(type='RestoredPhotos', archive=archive, split='train', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(type='RestoredPhotos', archive=archive, split='val', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(type='RestoredPhotos', archive=archive, split='test', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, by_epoch=False, begin=0, end=144),
    dict(type='CosineAnnealingLR', T_max=432, by_epoch=False, begin=144, end=576),
]
train_cfg = dict(by_epoch=True, max_epochs=4, val_interval=4)
val_cfg = dict()
test_cfg = dict()
custom_hooks = [dict(type='TwoStageHook', rank_epochs=0)]
val_evaluator = dict(type='IQACorrelation', group_by='scene')
test_evaluator = dict(type='IQACorrelation', group_by='scene')
auto_scale_lr = dict(base_batch_size=64, enable=False)
find_unused_parameters = True
