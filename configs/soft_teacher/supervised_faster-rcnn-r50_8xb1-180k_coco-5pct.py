# The supervised baseline, 5 % of COCO, fold 1.
_base_ = '_base_supervised.py'

train_dataloader = dict(dataset=dict(ann_file='annotations/semi_supervised/instances_train2017.1@5.json'))
