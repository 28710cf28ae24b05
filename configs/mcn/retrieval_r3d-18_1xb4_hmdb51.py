_base_ = ['../_base_/default_runtime.py', '_base_retrieval_hmdb51.py']

model = dict(backbone=dict(kind='r3d'))
