_base_ = ['../_base_/default_runtime.py', '_base_retrieval.py']

model = dict(backbone=dict(kind='r3d'))
