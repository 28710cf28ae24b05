# 1 % of COCO, fold 1.
_base_ = '_base_coco.py'

train_dataloader = _base_.train_dataloader
train_dataloader.dataset.datasets[0].ann_file = 'annotations/semi_supervised/instances_train2017.1@1.json'
train_dataloader.dataset.datasets[1].ann_file = 'annotations/semi_supervised/instances_train2017.1@1-unlabeled.json'
