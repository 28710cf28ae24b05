# All of COCO train2017 with its labels and unlabeled2017 without.
_base_ = '_base_coco_full.py'
