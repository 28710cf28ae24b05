# Patches of real photographs, restored by classical and small learned restorers; labels are ranks by SSIM, not human scores.
# The quartic alignment term does not help from a random start (see the page), hence power 1. A minute of preparation.
_base_ = ['../_base_/default_runtime.py', './_base_ckdn.py']

custom_imports = dict(imports=['openmsra.ckdn', 'openmsra.miniatures.restored_photos'])

model = dict(
    type='CKDN',
    depth=18,
    base_channels=16,
    head_dim=128,
    dropout=0.0,
    equal_branches=True,
    imagenet_weights=None,
    loss=dict(kd_weight=0.3, kd_power=1),
)

photos = dict(type='RestoredPhotos', archive='data/ckdn_photos.npz', pipeline=[dict(type='PackPair')])
loading = dict(batch_size=64, num_workers=0)
train_dataloader = dict(
    loading, drop_last=True, dataset=dict(photos, split='train'), sampler=dict(type='DefaultSampler', shuffle=True)
)
evaluation = dict(loading, sampler=dict(type='DefaultSampler', shuffle=False))
val_dataloader = dict(evaluation, dataset=dict(photos, split='val'))
test_dataloader = dict(evaluation, dataset=dict(photos, split='test'))

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
custom_hooks = [dict(type='TwoStageHook', rank_epochs=0), dict(type='CollapseWatchHook')]
auto_scale_lr = dict(base_batch_size=64, enable=False)
