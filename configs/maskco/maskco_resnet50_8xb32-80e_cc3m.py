# Conceptual Captions 3M: one image name per line of the list, dead links are left out and counted; 80 epochs are ours.
_base_ = '_base_r50.py'

train_dataloader = dict(dataset=dict(data_root='data/cc3m/images', ann_file='../train.tsv'))
train_cfg = dict(max_epochs=80)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=80, by_epoch=True, convert_to_iter_based=True)]
# Of the files that downloaders of CC3M leave behind several percent are no images (error pages, cut transfers): they are
# replaced, listed and counted. tools/analysis/verify_dataset.py lists them beforehand.
default_hooks = dict(broken_data=dict(max_fraction=0.1))
