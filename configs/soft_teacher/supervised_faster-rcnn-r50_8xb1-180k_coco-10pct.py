# The supervised baseline, 10 % of COCO, fold 1.
_base_ = '_base_supervised.py'
