_base_ = '_base_finetune.py'

model = dict(backbone=dict(_delete_=True, type='S3D'))
