# With InfoNCE of whole views beside that of regions.
_base_ = '_base_r50.py'

model = dict(global_weight=1.0)
