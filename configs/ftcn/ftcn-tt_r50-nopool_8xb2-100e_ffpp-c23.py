# Without the pool over time: 32 tokens.
_base_ = 'ftcn-tt_r50_8xb2-100e_ffpp-c23.py'

model = dict(backbone=dict(temporal_pool=False))
