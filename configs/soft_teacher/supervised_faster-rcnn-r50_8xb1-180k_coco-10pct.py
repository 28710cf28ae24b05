# The supervised baseline: 10 % of COCO, fold 1, same augmentation as the labelled images of Soft Teacher.
_base_ = '_base_coco.py'

labelled = _base_.labelled
labelled.ann_file = 'annotations/semi_supervised/instances_train2017.1@10.json'
train_dataloader = dict(
    _delete_=True,
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    dataset=labelled,
    sampler=dict(type='InfiniteSampler', shuffle=True),
)
auto_scale_lr = dict(base_batch_size=8, enable=False)
