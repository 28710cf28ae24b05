# Spatial kernels kept in the stem and stage 2.
_base_ = 'ftcn-tt_r50_8xb2-100e_ffpp-c23.py'

model = dict(backbone=dict(spatial_kernels=(7, 3, 1, 1, 1)))
