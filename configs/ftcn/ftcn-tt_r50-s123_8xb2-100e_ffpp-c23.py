# Spatial kernels kept in the stem and stages 2 and 3.
_base_ = 'ftcn-tt_r50_8xb2-100e_ffpp-c23.py'

model = dict(backbone=dict(spatial_kernels=(7, 3, 3, 1, 1)))
