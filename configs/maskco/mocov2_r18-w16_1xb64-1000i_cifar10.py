# MoCo v2 on the same code path, data and budget.
_base_ = ['_base_r18-w16.py', '_cifar10.py']

model = dict(region='view', mask=None, mph=None, backbone=dict(strides=(2, 2, 1)))
