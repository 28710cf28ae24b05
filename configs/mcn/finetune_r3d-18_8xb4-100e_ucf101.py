_base_ = '_base_finetune.py'

model = dict(backbone=dict(kind='r3d'))
