# Both scores, but no alignment of the references (the paper's ablation of distillation).
_base_ = './ckdn_r50_8xb8-30e_pipal.py'

model = dict(loss=dict(kd_weight=0.0))
