# MoCo v2 on the same code path, data and budget.
_base_ = '_base_digits.py'

model = dict(region='view', mask=None, mph=None)
