# Retrieval of the field: 10 clips at even distances, centre crop, features before any head, cosine; queries are the test list.
# The checkpoint is what tools/model_converters/mcn_export.py writes.
custom_imports = dict(imports=['openmsra.mcn'], allow_failed_imports=False)
inferencer = dict(type='MCNInferencer')

model = dict(
    type='VideoEncoder',
    backbone=dict(type='VideoResNet', kind='r2plus1d'),
    data_preprocessor=dict(type='ClipDataPreprocessor', mean=(110.2, 100.7, 95.9), std=(58.1, 56.4, 55.3)),
)
pipeline = [
    dict(type='mmaction.Resize', scale=(-1, 128)),
    dict(type='mmaction.CenterCrop', crop_size=112),
]
test_dataloader = dict(
    batch_size=4,
    num_workers=8,
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(
                type='VideoClips',
                ann_file='data/ucf101/ucf101_train_split_1_videos.txt',
                data_root='data/ucf101/videos',
                role='gallery',
                sampling='uniform',
                clips=10,
                clip_len=16,
                interval=2,
                pipeline=pipeline,
            ),
            dict(
                type='VideoClips',
                ann_file='data/ucf101/ucf101_test_split_1_videos.txt',
                data_root='data/ucf101/videos',
                role='query',
                sampling='uniform',
                clips=10,
                clip_len=16,
                interval=2,
                pipeline=pipeline,
            ),
        ],
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_cfg = dict()
test_evaluator = dict(type='VideoRetrieval', topk=(1, 5, 10, 20, 50))
