# The supervised baseline: 10 % of COCO, fold 1, same augmentation as the labelled images of Soft Teacher. The student is the
# plain detector and is what counts; its EMA is evaluated beside it.
_base_ = ['../_base_/default_runtime.py', '_coco.py']

model = dict(semi_train_cfg=dict(unsup_weight=0.0), semi_test_cfg=dict(predict_on='student'))
train_dataloader = dict(
    _delete_=True,
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    dataset={{_base_.labelled}},
    sampler=dict(type='InfiniteSampler', shuffle=True),
)
custom_hooks = [dict(type='NumClassesHook'), dict(type='ExportDetector', network='student')]
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=4000, max_keep_ckpts=2, save_best='student/coco/bbox_mAP', rule='greater'),
    visualization=dict(type='DetectionPictures', enable=False),
)
auto_scale_lr = dict(base_batch_size=8, enable=False)
