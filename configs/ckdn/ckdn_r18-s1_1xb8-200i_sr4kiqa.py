# SR4KIQA: super-resolved photographs that people scored from 1 to 5, crops of 384 pixels; the scenes that have a pristine image.
# Before the first run: python tools/download_data.py sr4kiqa. For your own scores: your table, root, columns and range; with
# model.distil=False and without skip_without no pristine images are needed. Sizes, rate and schedule are ours, for a processor.
_base_ = '_base_bsds500.py'

scored = dict(
    _delete_=True,
    type='ScoredTable',
    ann_file='data/sr4kiqa/pairs.csv',
    data_root='data/sr4kiqa',
    columns=dict(score='mos', pristine='reference', scene='degraded'),  # ranks count among the versions of one input
    score_range=(1, 5),
    skip_without=['pristine'],
)
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(
        scored,
        split='train',
        roles=['restored', 'degraded', 'pristine'],
        pipeline=[
            dict(type='LoadPair'),
            dict(type='ResizeCropPair', resize=384, crop=384),
            dict(type='RandomCropPair', crop=96),
            dict(type='PackPair'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
    dataset=dict(
        scored,
        split='val',
        roles=['restored', 'degraded', 'pristine'],
        pipeline=[dict(type='LoadPair'), dict(type='ResizeCropPair', resize=384, crop=288), dict(type='PackPair')],
    ),
)
test_dataloader = val_dataloader

train_cfg = dict(max_iters=200, val_interval=200)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, by_epoch=False, begin=0, end=20),
    dict(type='CosineAnnealingLR', T_max=180, by_epoch=False, begin=20, end=200),
]
default_hooks = dict(checkpoint=dict(interval=100))
auto_scale_lr = dict(base_batch_size=8)
