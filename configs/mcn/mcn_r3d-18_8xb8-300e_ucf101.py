_base_ = '_base_pretrain.py'

model = dict(backbone=dict(kind='r3d'))
