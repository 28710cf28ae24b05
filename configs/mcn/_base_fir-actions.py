# Actions under a ceiling camera: recordings of minutes are cut into pieces of four seconds, which are pre-trained on without
# labels; labelled clips of other recordings are retrieved and probed. Sizes and schedule are ours, for a processor. For your own
# recordings: a list of their paths, and lists of labelled clips for the evaluation (or none: set the three `val_` keys to None).
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.mcn'], allow_failed_imports=False)
inferencer = dict(type='MCNInferencer')

model = dict(
    type='MCN',
    backbone=dict(type='TinyVideoNet', widths=(16, 32, 64, 64), strides=((1, 4, 4), (2, 2, 2), (2, 2, 2), (1, 1, 1))),
    projection=dict(out_channels=64),
    meta_head=dict(channels=64),
    inner=dict(rate=0.01, steps=1, order='second', scope='all'),
    tasks=1,
    query_videos='disjoint',
    shuffle_videos=False,
    negatives=dict(kind='batch'),
    temperature=0.1,
    meta_weight=0.1,
    support_weight=1.0,
    gain_interval=10,
    data_preprocessor=dict(type='ClipDataPreprocessor', mean=(128.0, 128.0, 128.0), std=(64.0, 64.0, 64.0)),
)
clip_options = dict(clip_len=8, interval=2, short_side=80, in_memory=True, data_root='data/fir_actions')
views = [
    dict(type='mmaction.RandomResizedCrop', area_range=(0.4, 1.0), aspect_ratio_range=(0.75, 1.3333)),
    dict(type='mmaction.Resize', scale=(64, 64), keep_ratio=False),
    dict(type='mmaction.Flip', flip_ratio=0.5),
    dict(type='ClipJitter', saturation=0.4, hue=0.1, grey_prob=0.3, blur_prob=0.0),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    drop_last=True,
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(
                type='VideoClips',
                ann_file='data/fir_actions/recordings_train.txt',
                piece=48,
                clips=2,
                pipeline=views,
                **clip_options,
            ),
            dict(type='VideoClips', ann_file='data/fir_actions/list_train.txt', clips=2, pipeline=views, **clip_options),
        ],
    ),
    # 16 videos of one recording are support, 16 of another query: the same background in all of a stage
    sampler=dict(type='RecordingSampler', group=16, recording=r'\d+_\d+_\d+'),
)
whole = [dict(type='mmaction.Resize', scale=(64, 64), keep_ratio=False)]
labelled = dict(type='VideoClips', sampling='uniform', clips=3, pipeline=whole, **clip_options)
val_dataloader = dict(
    batch_size=16,
    num_workers=0,
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(labelled, ann_file='data/fir_actions/list_train.txt', role='gallery'),
            dict(labelled, ann_file='data/fir_actions/list_test.txt', role='query'),
        ],
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(type='Adam', lr=2e-3), clip_grad=dict(max_norm=5.0))
train_cfg = dict(by_epoch=False, max_iters=600, val_interval=200)
val_cfg = dict()
test_cfg = dict()
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=60, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=60, end=600, T_max=540, by_epoch=False),
]
custom_hooks = [dict(type='AdaptationWatch')]
default_hooks = dict(logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, interval=200))
log_processor = dict(by_epoch=False)
val_evaluator = dict(type='VideoRetrieval', topk=(1, 5, 10), probe=1.0)
test_evaluator = dict(type='VideoRetrieval', topk=(1, 5, 10), probe=1.0)
auto_scale_lr = dict(base_batch_size=32, enable=False)
