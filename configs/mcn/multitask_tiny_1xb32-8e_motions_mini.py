# Contrastive and meta branch in one joint step: no meta-learning.
_base_ = '_base_motions.py'

model = dict(inner=None)
