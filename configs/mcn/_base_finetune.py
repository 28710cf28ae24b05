# Fine-tuning and linear probe; test on 10 clips at even distances, softmax averaged. Ours, after the habits of the field.
# model.pretrained is what tools/model_converters/mcn_export.py writes.
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.mcn'], allow_failed_imports=False)
inferencer = dict(type='MCNInferencer')

model = dict(
    type='VideoClassifier',
    backbone=dict(type='VideoResNet', kind='r2plus1d'),
    num_classes=101,
    dropout=0.5,
    pretrained='work_dirs/mcn_backbone.pth',
    data_preprocessor=dict(type='ClipDataPreprocessor', mean=(110.2, 100.7, 95.9), std=(58.1, 56.4, 55.3)),
)
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    dataset=dict(
        type='VideoClips',
        ann_file='data/ucf101/ucf101_train_split_1_videos.txt',
        data_root='data/ucf101/videos',
        clips=1,
        clip_len=16,
        interval=2,
        pipeline=[
            dict(type='mmaction.RandomResizedCrop', area_range=(0.5, 1.0), aspect_ratio_range=(0.75, 1.3333)),
            dict(type='mmaction.Resize', scale=(112, 112), keep_ratio=False),
            dict(type='mmaction.Flip', flip_ratio=0.5),
            dict(type='ClipJitter', grey_prob=0.0, blur_prob=0.0),
        ],
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=4,
    dataset=dict(
        type='VideoClips',
        ann_file='data/ucf101/ucf101_test_split_1_videos.txt',
        data_root='data/ucf101/videos',
        sampling='uniform',
        clips=10,
        clip_len=16,
        interval=2,
        pipeline=[
            dict(type='mmaction.Resize', scale=(-1, 128)),
            dict(type='mmaction.CenterCrop', crop_size=112),
        ],
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'cls_head': dict(lr_mult=10.0)}),
)
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=10)
val_cfg = dict()
test_cfg = dict()
param_scheduler = [dict(type='CosineAnnealingLR', T_max=100, by_epoch=True, convert_to_iter_based=True)]
val_evaluator = dict(type='VideoAccuracy')
test_evaluator = dict(type='VideoAccuracy')
default_hooks = dict(checkpoint=dict(interval=10))
auto_scale_lr = dict(base_batch_size=32, enable=False)
