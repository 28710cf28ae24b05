_base_ = '_base_pretrain.py'

model = dict(backbone=dict(_delete_=True, type='S3D', recompute=True))
