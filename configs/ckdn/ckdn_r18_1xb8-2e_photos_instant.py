# The quartic alignment term diverges from a random start, hence power 1.
# Labels are an error against the pristine photograph, not human scores.
_base_ = ['../_base_/default_runtime.py', './_base_ckdn.py']

custom_imports = dict(imports=['openmsra.ckdn', 'openmsra.miniatures.filtered_photos'])

model = dict(type='CKDN', depth=18, base_channels=8, head_dim=64, imagenet_weights=None, loss=dict(kd_weight=0.3, kd_power=1))

photos = dict(type='PhotoPairs', pipeline=[dict(type='PackPair')])
loading = dict(batch_size=8, num_workers=0)
train_dataloader = dict(
    loading, drop_last=True, dataset=dict(photos, split='train'), sampler=dict(type='DefaultSampler', shuffle=True)
)
val_dataloader = dict(loading, dataset=dict(photos, split='val'), sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = val_dataloader

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=1)
custom_hooks = [dict(type='TwoStageHook', rank_epochs=1), dict(type='CollapseWatchHook')]
auto_scale_lr = dict(base_batch_size=8, enable=False)
