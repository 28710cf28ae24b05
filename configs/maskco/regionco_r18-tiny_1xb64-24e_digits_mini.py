# Plain region contrast: neither mask nor mask prediction head.
_base_ = '_base_digits.py'

model = dict(mask=None, mph=None)
