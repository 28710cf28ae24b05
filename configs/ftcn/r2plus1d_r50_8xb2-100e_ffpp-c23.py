# R(2+1)D-50 with the training of FTCN-TT.
_base_ = 'ftcn-tt_r50_8xb2-100e_ffpp-c23.py'

model = dict(backbone=dict(spatial_kernels=(7, 3, 3, 3, 3), r2plus1d=True))
