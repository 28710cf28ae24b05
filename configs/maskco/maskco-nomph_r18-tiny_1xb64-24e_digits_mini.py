# Without the mask prediction head.
_base_ = '_base_digits.py'

model = dict(mph=None)
