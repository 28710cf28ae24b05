# Runs the whole path, burn-in too; far too short to learn anything. The unlabelled images are read as a plain folder.
_base_ = '_base_shapes.py'

model = dict(
    semi_train_cfg=dict(burn_in_iters=4, pseudo_label_initial_score_thr=0.2, rpn_pseudo_thr=0.2, cls_pseudo_thr=0.2),
    mean_teacher=dict(keep_loaded_teacher=False),
)
unlabelled = _base_.unlabelled
unlabelled.type = 'UnlabelledShapeFolder'
unlabelled.folders = 'unlabelled'
unlabelled.pop('ann_file')
unlabelled.pop('hidden')
train_dataloader = dict(
    batch_size=4,
    dataset=dict(datasets=[_base_.labelled, unlabelled]),
    sampler=dict(batch_size=4),
)
val_dataloader = dict(dataset=dict(indices=16))
test_dataloader = dict(dataset=dict(indices=16))
train_cfg = dict(max_iters=8, val_interval=8)
param_scheduler = [dict(type='LinearLR', start_factor=0.1, begin=0, end=4, by_epoch=False)]
custom_hooks = [
    dict(type='NumClassesHook'),
    dict(type='PseudoLabelMonitor', interval=2, picture_interval=4),
    dict(type='ExportDetector'),
]
