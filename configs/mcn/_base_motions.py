# Cut-outs of photographs under eight motions, from installed packages; all numbers are ours. Input are differences of frames.
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.mcn', 'openmsra.miniatures.motions'], allow_failed_imports=False)
inferencer = dict(type='MCNInferencer')

model = dict(
    type='MCN',
    backbone=dict(type='TinyVideoNet', strides=((2, 2, 2), (1, 2, 2), (2, 2, 2), (1, 1, 1))),
    projection=dict(out_channels=64),
    meta_head=dict(channels=64),
    inner=dict(rate=0.002, steps=1, order='second', scope='all'),
    query_videos='same',
    negatives=dict(kind='batch'),
    temperature=0.1,
    meta_weight=0.3,
    support_weight=1.0,
    gain_interval=10,
    data_preprocessor=dict(type='ClipDataPreprocessor', residual=True),
)

clip_options = dict(clip_len=9, interval=1)
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    drop_last=True,
    dataset=dict(
        type='MovingPatches',
        split='train',
        count=640,
        clips=4,
        **clip_options,
        pipeline=[
            dict(type='mmaction.RandomCrop', size=32),
            dict(type='ClipJitter', saturation=0.0, hue=0.1, jitter_prob=1.0, grey_prob=0.3, blur_prob=0.0),
        ],
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_pipeline = [dict(type='mmaction.CenterCrop', crop_size=32)]
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(
                type='MovingPatches',
                split='train',
                count=640,
                role='gallery',
                sampling='uniform',
                clips=2,
                **clip_options,
                pipeline=val_pipeline,
            ),
            dict(
                type='MovingPatches',
                split='test',
                count=640,
                role='query',
                sampling='uniform',
                clips=2,
                **clip_options,
                pipeline=val_pipeline,
            ),
        ],
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(type='Adam', lr=2e-3), clip_grad=dict(max_norm=5.0))
train_cfg = dict(by_epoch=True, max_epochs=8, val_interval=4)
val_cfg = dict()
test_cfg = dict()
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=1, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=1, end=8, T_max=7, by_epoch=True, convert_to_iter_based=True),
]
custom_hooks = [dict(type='AdaptationWatch')]
val_evaluator = dict(type='VideoRetrieval', topk=(1, 5, 10), probe=1.0)
test_evaluator = dict(type='VideoRetrieval', topk=(1, 5, 10), probe=1.0)
auto_scale_lr = dict(base_batch_size=32, enable=False)
