# CIFAR-10 as folders of classes: one object a picture, the control to street scenes.
data_preprocessor = dict(type='ViewDataPreprocessor', mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7])

photometric = [
    dict(
        type='RandomApply',
        transforms=[dict(type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, backend='cv2')],
        prob=0.8,
    ),
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.299, 0.587, 0.114)),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    drop_last=True,
    dataset=dict(
        type='UnlabelledImages',
        data_root='data/cifar10/train',
        pipeline=[
            dict(
                type='TwoRegionViews',
                size=32,
                crop_scale=(0.2, 1.0),
                photometric=photometric,
                min_common_side=10,
                min_region_side=8,
                num_negatives=0,
            ),
            dict(type='PackRegionViews'),
        ],
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
)
pipeline = [dict(type='PackProbe')]
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(type='LabelledFolder', data_root='data/cifar10/train', bank=True, per_class=500, pipeline=pipeline),
            dict(
                type='LabelledFolder',
                data_root='data/cifar10/test',
                classes='data/cifar10/train',
                bank=False,
                per_class=200,
                pipeline=pipeline,
            ),
        ],
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='FrozenProbe', neighbours=5)
test_evaluator = dict(type='FrozenProbe', neighbours=5)
