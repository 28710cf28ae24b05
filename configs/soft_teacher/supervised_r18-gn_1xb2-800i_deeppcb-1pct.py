# The baseline: as many labelled images again, without the unlabelled ones; starts from the burn-in too.
_base_ = '_base_deeppcb.py'

model = dict(semi_train_cfg=dict(unsup_weight=0.0), semi_test_cfg=dict(predict_on='student'))
train_dataloader = dict(
    _delete_=True,
    batch_size=2,
    num_workers=0,
    dataset={{_base_.labelled}},
    sampler=dict(type='InfiniteSampler', shuffle=True),
)
auto_scale_lr = dict(base_batch_size=2, enable=False)
