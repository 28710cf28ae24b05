# Support and query are clips of the same videos: four clips of 16 videos, as many as two of 32.
_base_ = '_base_fir-actions.py'

model = dict(query_videos='same')
clip_options = dict(clips=4, clip_len=8, interval=2, short_side=80, in_memory=True, data_root='data/fir_actions')
recordings = dict(type='VideoClips', ann_file='data/fir_actions/recordings_train.txt', piece=48, pipeline=_base_.views)
labelled_clips = dict(type='VideoClips', ann_file='data/fir_actions/list_train.txt', pipeline=_base_.views)
train_dataloader = dict(
    batch_size=16,
    dataset=dict(datasets=[dict(recordings, **clip_options), dict(labelled_clips, **clip_options)]),
)
