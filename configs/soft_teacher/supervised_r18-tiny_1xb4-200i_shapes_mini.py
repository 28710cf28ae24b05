# The baseline of the miniature: as many labelled images again, without the unlabelled ones. Its EMA is evaluated beside it.
_base_ = '_base_shapes.py'

model = dict(semi_train_cfg=dict(unsup_weight=0.0), semi_test_cfg=dict(predict_on='student'))
train_dataloader = dict(
    _delete_=True,
    batch_size=4,
    num_workers=0,
    dataset={{_base_.labelled}},
    sampler=dict(type='InfiniteSampler', shuffle=True),
)
auto_scale_lr = dict(base_batch_size=4, enable=False)
