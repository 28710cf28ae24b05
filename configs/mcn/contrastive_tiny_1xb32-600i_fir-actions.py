# Contrastive learning alone: the same clips, encoder and steps.
_base_ = '_base_fir-actions.py'

model = dict(inner=None, meta_head=None)
