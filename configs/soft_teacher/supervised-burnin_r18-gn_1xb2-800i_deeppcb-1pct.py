# Burn-in: labelled images alone. Soft Teacher and the baseline start from its checkpoint.
_base_ = '_base_deeppcb.py'

model = dict(
    semi_train_cfg=dict(unsup_weight=0.0),
    semi_test_cfg=dict(predict_on='student'),
    mean_teacher=dict(keep_loaded_teacher=False),
)
custom_hooks = [dict(type='NumClassesHook')]
train_dataloader = dict(
    _delete_=True,
    batch_size=2,
    num_workers=0,
    dataset={{_base_.labelled}},
    sampler=dict(type='InfiniteSampler', shuffle=True),
)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [dict(type='LinearLR', start_factor=0.01, begin=0, end=30, by_epoch=False)]
auto_scale_lr = dict(base_batch_size=2, enable=False)
