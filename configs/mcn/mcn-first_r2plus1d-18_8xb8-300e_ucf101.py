# First order: the gradient at theta' is applied as it is.
_base_ = '_base_pretrain.py'

model = dict(inner=dict(order='first'))
