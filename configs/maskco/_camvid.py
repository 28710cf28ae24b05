# Street scenes of CamVid, 468 frames without labels: views of 6 to 30 % of a frame rarely show one thing. The probe tells 11
# classes apart on cells of frames; the test is on frames of other sequences. For your own scenes: folders of images as data_root
# of the training, folders of images and maps of classes for the probe.
data_preprocessor = dict(type='ViewDataPreprocessor', mean=[105.0, 108.0, 110.0], std=[77.0, 78.0, 77.0])
photometric = [
    dict(
        type='RandomApply',
        transforms=[dict(type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, backend='cv2')],
        prob=0.8,
    ),
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.299, 0.587, 0.114)),
]
views = [
    dict(
        type='TwoRegionViews',
        size=64,
        crop_scale=(0.06, 0.3),
        photometric=photometric,
        min_common_side=20,
        min_region_side=16,
        num_negatives=0,
    ),
    dict(type='PackRegionViews'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    drop_last=True,
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(type='UnlabelledImages', data_root='data/camvid/images/train', pipeline=views),
            dict(type='UnlabelledImages', data_root='data/camvid/images/val', pipeline=views),
        ],
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
)
metainfo = dict(
    classes=('sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign_symbol', 'fence', 'car', 'pedestrian', 'bicyclist'),
    palette=[
        [128, 128, 128],
        [128, 0, 0],
        [192, 192, 128],
        [128, 64, 128],
        [60, 40, 222],
        [128, 128, 0],
        [192, 128, 128],
        [64, 64, 128],
        [64, 0, 128],
        [64, 64, 0],
        [0, 128, 192],
    ],
)
train_frames = dict(
    type='SegmentedFrames',
    data_root='data/camvid',
    data_prefix=dict(img_path='images/train', seg_map_path='masks/train'),
    metainfo=metainfo,
    size=(192, 144),
    cell=8,
    bank=True,
    pipeline=[dict(type='PackProbe')],
)
val_frames = dict(
    type='SegmentedFrames',
    data_root='data/camvid',
    data_prefix=dict(img_path='images/val', seg_map_path='masks/val'),
    metainfo=metainfo,
    size=(192, 144),
    cell=8,
    bank=False,
    pipeline=[dict(type='PackProbe')],
)
test_frames = dict(
    type='SegmentedFrames',
    data_root='data/camvid',
    data_prefix=dict(img_path='images/test', seg_map_path='masks/test'),
    metainfo=metainfo,
    size=(192, 144),
    cell=8,
    bank=False,
    pipeline=[dict(type='PackProbe')],
)
val_dataloader = dict(
    batch_size=32,
    num_workers=0,
    dataset=dict(type='ConcatDataset', datasets=[train_frames, val_frames]),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
test_dataloader = dict(
    batch_size=32,
    num_workers=0,
    dataset=dict(type='ConcatDataset', datasets=[train_frames, test_frames]),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
val_evaluator = dict(type='CellProbe')
test_evaluator = dict(type='CellProbe')
