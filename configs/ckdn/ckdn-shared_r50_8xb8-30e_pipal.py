# One branch for restored images and references (the paper's ablation of separate branches).
_base_ = './ckdn_r50_8xb8-30e_pipal.py'

model = dict(share_branches=True)
