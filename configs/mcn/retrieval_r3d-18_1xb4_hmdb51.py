_base_ = '_base_retrieval_hmdb51.py'

model = dict(backbone=dict(kind='r3d'))
