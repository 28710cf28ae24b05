# 10 % of COCO, fold 1.
_base_ = '_base_coco.py'
