# FaceShifter against the real test videos of FF++.
_base_ = 'ftcn-tt_r50_8xb2-100e_ffpp-c23.py'

test_dataloader = dict(dataset=dict(methods=['FaceShifter']))
