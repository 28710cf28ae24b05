# Support and query are clips of the same videos: four clips of 16 videos, as many as two of 32.
_base_ = '_base_fir-actions.py'

model = dict(query_videos='same')
train_dataloader = dict(batch_size=16, dataset=dict(datasets=[dict(clips=4), dict(clips=4)]))
