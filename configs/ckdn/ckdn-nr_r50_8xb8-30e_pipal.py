# No reference: T = 0.
_base_ = './ckdn_r50_8xb8-30e_pipal.py'

model = dict(reference='none', official_stages=False)
