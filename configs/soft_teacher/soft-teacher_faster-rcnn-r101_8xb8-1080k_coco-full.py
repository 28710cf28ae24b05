# R101; all of COCO train2017 with its labels and unlabeled2017 without.
_base_ = '_base_coco_full.py'

model = dict(detector=dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://detectron2/resnet101_caffe'))))
train_cfg = dict(max_iters=1080000)
param_scheduler = _base_.param_scheduler
param_scheduler[1].milestones = [720000, 960000]
