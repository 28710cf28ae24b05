# Degraded reference alone.
_base_ = '_base_bsds500.py'

model = dict(distil=False)
