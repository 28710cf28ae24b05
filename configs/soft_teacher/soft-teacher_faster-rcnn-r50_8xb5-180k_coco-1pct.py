# 1 % of COCO, fold 1.
_base_ = '_base_coco.py'

labelled = _base_.labelled
labelled.ann_file = 'annotations/semi_supervised/instances_train2017.1@1.json'
unlabelled = _base_.unlabelled
unlabelled.ann_file = 'annotations/semi_supervised/instances_train2017.1@1-unlabeled.json'
train_dataloader = dict(dataset=dict(datasets=[labelled, unlabelled]))
