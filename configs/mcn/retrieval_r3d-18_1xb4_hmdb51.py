_base_ = '_base_retrieval.py'

model = dict(backbone=dict(kind='r3d'))

pipeline = [
    dict(type='mmaction.Resize', scale=(-1, 128)),
    dict(type='mmaction.CenterCrop', crop_size=112),
]
test_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(
                type='VideoClips',
                ann_file='data/hmdb51/hmdb51_train_split_1_videos.txt',
                data_root='data/hmdb51/videos',
                role='gallery',
                sampling='uniform',
                clips=10,
                clip_len=16,
                interval=2,
                pipeline=pipeline,
            ),
            dict(
                type='VideoClips',
                ann_file='data/hmdb51/hmdb51_test_split_1_videos.txt',
                data_root='data/hmdb51/videos',
                role='query',
                sampling='uniform',
                clips=10,
                clip_len=16,
                interval=2,
                pipeline=pipeline,
            ),
        ],
    ),
)
