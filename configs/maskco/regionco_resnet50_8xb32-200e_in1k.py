# Plain region contrast: neither mask nor mask prediction head.
_base_ = '_base_r50.py'

model = dict(mask=None, mph=None)
