# The score with the pristine reference, no alignment.
_base_ = '_base_bsds500.py'

model = dict(loss=dict(kd_weight=0.0))
