# A mask prediction head that sees no context.
_base_ = '_base_r50.py'

model = dict(mph=dict(kernel=1))
