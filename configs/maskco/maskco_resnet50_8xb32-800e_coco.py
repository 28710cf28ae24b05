# COCO train2017 without its labels; 800 epochs are ours.
_base_ = '_base_r50.py'

train_dataloader = dict(dataset=dict(data_root='data/coco/train2017'))
train_cfg = dict(max_epochs=800)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=800, by_epoch=True, convert_to_iter_based=True)]
