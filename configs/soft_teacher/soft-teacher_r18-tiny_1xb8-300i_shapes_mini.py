# Burn-in and Soft Teacher in one short run, for `openmsra demo`; the claim in miniature starts from a longer burn-in.
_base_ = '_base_shapes.py'

model = dict(
    semi_train_cfg=dict(burn_in_iters=240, pseudo_label_initial_score_thr=0.4, rpn_pseudo_thr=0.6, cls_pseudo_thr=0.6),
    mean_teacher=dict(keep_loaded_teacher=False),
)
val_dataloader = dict(dataset=dict(indices=100))
test_dataloader = dict(dataset=dict(indices=100))
train_cfg = dict(max_iters=300, val_interval=60)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=20, by_epoch=False),
    dict(type='MultiStepLR', milestones=[270], gamma=0.1, by_epoch=False),
]
