# FTCN with the temporal transformer.
_base_ = './_base_faces.py'

model = dict(head=dict(kind='transformer', dim=64, heads=4, head_dim=16, hidden=128))
