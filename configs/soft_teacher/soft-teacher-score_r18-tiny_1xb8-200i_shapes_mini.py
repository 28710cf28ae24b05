# Ablation: no jitter; the boxes of the classification supervise the regression.
_base_ = '_base_shapes.py'

model = dict(semi_train_cfg=dict(reg_select='score'))
