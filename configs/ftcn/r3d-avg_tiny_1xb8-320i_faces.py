# The plain 3D network: spatial kernels as in a ResNet.
_base_ = './_base_faces.py'

model = dict(backbone=dict(spatial_kernels=(7, 3, 3, 3, 3)))
