# Ablation: every region sampled as background counts fully.
_base_ = '_base_shapes.py'

model = dict(semi_train_cfg=dict(bg_weight='none'))
