# Flicker only, on pans over photographs: shows that the whole path works, nothing about real forgeries.
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.ftcn', 'openmsra.miniatures.forgeries'], allow_failed_imports=False)
inferencer = dict(type='FTCNInferencer')

model = dict(
    type='FTCN',
    clip_len=8,
    size=32,
    backbone=dict(depths=(1, 1, 1), channels=8),
    head=dict(dim=64, heads=4, head_dim=16, hidden=128),
)

pipeline = [dict(type='PackClip')]
train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    dataset=dict(
        type='SyntheticForgeries', split='train', methods=('flicker',), videos=160, clip_len=8, size=32, pipeline=pipeline
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=0,
    dataset=dict(
        type='SyntheticForgeries', split='val', methods=('flicker', 'gain'), videos=24, clip_len=8, size=32, pipeline=pipeline
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = dict(
    batch_size=16,
    num_workers=0,
    dataset=dict(
        type='SyntheticForgeries', split='test', methods=('flicker', 'gain'), videos=24, clip_len=8, size=32, pipeline=pipeline
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=4e-3, weight_decay=0.05), clip_grad=dict(max_norm=1.0))
param_scheduler = [dict(type='WarmupCosineLR', end=4, convert_to_iter_based=True)]
train_cfg = dict(by_epoch=True, max_epochs=4, val_interval=4)
val_cfg = dict()
test_cfg = dict()
val_evaluator = dict(type='VideoForgeryMetric')
test_evaluator = dict(type='VideoForgeryMetric')
auto_scale_lr = dict(base_batch_size=16, enable=False)
