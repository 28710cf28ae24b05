# A 2D network on single frames whose features are averaged: it cannot see the order of the frames.
_base_ = './_base_faces.py'

model = dict(backbone=dict(spatial_kernels=(7, 3, 3, 3, 3), temporal=False, temporal_pool=False))
