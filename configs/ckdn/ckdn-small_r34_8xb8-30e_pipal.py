# ResNet-34 in place of ResNet-50.
_base_ = './ckdn_r50_8xb8-30e_pipal.py'

model = dict(depth=34)
