# Contrastive and meta branch in one joint step: no meta-learning.
_base_ = '_base_pretrain.py'

model = dict(inner=None)
