_base_ = '_base_finetune.py'

model = dict(frozen=True, dropout=0.0)
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=0.0), paramwise_cfg=dict(custom_keys={'cls_head': dict(lr_mult=1.0)}))
