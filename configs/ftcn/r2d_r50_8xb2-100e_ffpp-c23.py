# Kernels in space only, 1 in time; the transformer sees the features of the frames.
_base_ = 'ftcn-tt_r50_8xb2-100e_ffpp-c23.py'

model = dict(backbone=dict(spatial_kernels=(7, 3, 3, 3, 3), temporal=False))
