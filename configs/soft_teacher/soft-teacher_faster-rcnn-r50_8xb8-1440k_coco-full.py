# The long schedule; all of COCO train2017 with its labels and unlabeled2017 without.
_base_ = '_base_coco_full.py'

train_cfg = dict(max_iters=1440000)
param_scheduler = _base_.param_scheduler
param_scheduler[1].milestones = [960000, 1280000]
