# The ranking stage also asks for the swapped pair.
_base_ = './ckdn_r50_8xb8-30e_pipal.py'

model = dict(official_stages=False, loss=dict(symmetric=True))
