# Contrast and meta branch in one joint step: MCN at the inner rate 0.
_base_ = '_base_fir-actions.py'

model = dict(inner=None)
