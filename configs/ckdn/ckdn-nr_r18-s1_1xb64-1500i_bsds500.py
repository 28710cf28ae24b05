# No reference.
_base_ = '_base_bsds500.py'

model = dict(reference='none')
