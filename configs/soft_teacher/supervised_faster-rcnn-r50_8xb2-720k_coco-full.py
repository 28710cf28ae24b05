# The supervised baseline on all of COCO train2017.
_base_ = '_base_supervised.py'

train_dataloader = dict(batch_size=2, dataset=dict(ann_file='annotations/instances_train2017.json'))
optim_wrapper = dict(optimizer=dict(lr=0.02))
train_cfg = dict(max_iters=720000)
param_scheduler = _base_.param_scheduler
param_scheduler[1].milestones = [480000, 640000]
auto_scale_lr = dict(base_batch_size=16, enable=False)
