# The network keeps its last stage.
_base_ = 'ftcn-tt_r50_8xb2-100e_ffpp-c23.py'

model = dict(backbone=dict(stop_stage=5))
