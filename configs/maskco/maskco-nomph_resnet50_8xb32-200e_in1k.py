# Without the mask prediction head.
_base_ = '_base_r50.py'

model = dict(mph=None)
