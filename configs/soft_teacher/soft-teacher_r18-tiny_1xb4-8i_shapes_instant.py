# Runs the whole path, burn-in too; far too short to learn anything. The unlabelled images are read as a plain folder.
_base_ = '_base_shapes.py'

model = dict(semi_train_cfg=dict(burn_in_iters=4, pseudo_label_initial_score_thr=0.2, rpn_pseudo_thr=0.2, cls_pseudo_thr=0.2))
train_cfg = dict(max_iters=8, val_interval=8)
param_scheduler = [dict(type='LinearLR', start_factor=0.1, begin=0, end=4, by_epoch=False)]
train_dataloader = dict(batch_size=4, sampler=dict(batch_size=4))
val_dataloader = dict(dataset=dict(indices=16))
test_dataloader = dict(dataset=dict(indices=16))
