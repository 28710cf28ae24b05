# The mask prediction head in both branches; the key encoder holds a momentum copy.
_base_ = '_base_r50.py'

model = dict(mph_side='both')
