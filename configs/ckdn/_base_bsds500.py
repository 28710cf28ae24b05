# Patches of 48 pixels of BSDS500 with versions of equal look, labelled by formulas. Stem stride 1, no pooling: all pixels count.
# Before the first run: python tools/dataset_converters/ckdn_versions.py data/bsds500/images --out data/bsds500/versions.npz
# For your own photographs: another folder there. Sizes, rate and schedule are ours, for a processor.
_base_ = ['../_base_/default_runtime.py', './_base_ckdn.py']

model = dict(
    type='CKDN',
    depth=18,
    base_channels=16,
    stem_stride=1,
    stem_pool=False,
    head_dim=128,
    dropout=0.0,
    equal_branches=True,
    imagenet_weights=None,
    loss=dict(kd_weight=0.1, kd_power=1),
)

scenes = dict(type='PhotoVersions', ann_file='data/bsds500/versions.npz', pipeline=[dict(type='PackPair')])
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    drop_last=True,
    dataset=dict(scenes, split='train'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='pseudo_collate'),
)
val_dataloader = dict(
    batch_size=96,
    num_workers=0,
    dataset=dict(scenes, split='val'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='pseudo_collate'),
)
test_dataloader = dict(
    batch_size=96,
    num_workers=0,
    dataset=dict(scenes, split='test'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='pseudo_collate'),
)

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
train_cfg = dict(by_epoch=False, max_iters=1500, val_interval=500)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, by_epoch=False, begin=0, end=150),
    dict(type='CosineAnnealingLR', T_max=1350, by_epoch=False, begin=150, end=1500),
]
custom_hooks = [dict(type='TwoStageHook', rank_epochs=0), dict(type='CollapseWatchHook')]
default_hooks = dict(logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, interval=250, max_keep_ckpts=1))
log_processor = dict(by_epoch=False)
auto_scale_lr = dict(base_batch_size=64, enable=False)
