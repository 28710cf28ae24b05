_base_ = '_base_retrieval.py'

model = dict(backbone=dict(kind='r3d'))
