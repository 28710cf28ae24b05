# Comparator of plain blocks (the paper's ablation of residual blocks).
_base_ = './ckdn_r50_8xb8-30e_pipal.py'

model = dict(comparator='plain')
