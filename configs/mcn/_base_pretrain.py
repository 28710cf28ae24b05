# What the pre-training runs share. The paper's hyper-parameters could not be established: all numbers are ours or the field's.
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.mcn'], allow_failed_imports=False)
inferencer = dict(type='MCNInferencer')

model = dict(
    type='MCN',
    backbone=dict(type='VideoResNet', kind='r2plus1d', recompute=True),
    projection=dict(out_channels=128, kind='mlp'),
    meta_head=dict(channels=256, combine='absdiff_prod'),
    inner=dict(rate=0.01, steps=1, order='second', scope='all', wise='task'),
    tasks=1,
    query_videos='same',
    negatives=dict(kind='queue', length=2048, momentum=0.999),
    temperature=0.07,
    meta_weight=1.0,
    support_weight=1.0,
    data_preprocessor=dict(type='ClipDataPreprocessor', mean=(110.2, 100.7, 95.9), std=(58.1, 56.4, 55.3)),
)
train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    dataset=dict(
        type='VideoClips',
        ann_file='data/ucf101/ucf101_train_split_1_videos.txt',
        data_root='data/ucf101/videos',
        clips=4,
        clip_len=16,
        interval=2,
        pipeline=[
            dict(type='mmaction.RandomResizedCrop', area_range=(0.2, 1.0), aspect_ratio_range=(0.75, 1.3333)),
            dict(type='mmaction.Resize', scale=(112, 112), keep_ratio=False),
            dict(type='mmaction.Flip', flip_ratio=0.5),
            dict(type='ClipJitter'),
        ],
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.03, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=5.0),
)
train_cfg = dict(by_epoch=True, max_epochs=300)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=10, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=10, end=300, T_max=290, by_epoch=True, convert_to_iter_based=True),
]
custom_hooks = [dict(type='AdaptationWatch')]
default_hooks = dict(checkpoint=dict(interval=10))
auto_scale_lr = dict(base_batch_size=64, enable=False)
env_cfg = dict(cudnn_benchmark=True)
