# Contrastive mask prediction on CIFAR-10.
_base_ = ['_base_r18-w16.py', '_cifar10.py']

model = dict(backbone=dict(strides=(2, 2, 1)))
