# The official recipe: constant rate, no warm-up, no augmentation; selection on the evaluation scenes, as there.
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.ckdn'], allow_failed_imports=False)
inferencer = dict(type='CKDNInferencer')

model = dict(type='CKDN', depth=50, official_stages=True)

pipeline = [dict(type='LoadPair'), dict(type='ResizeCropPair'), dict(type='PackPair')]
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    drop_last=True,
    dataset=dict(type='PIPALDataset', data_root='data/PIPAL', split='train', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=4,
    dataset=dict(type='PIPALDataset', data_root='data/PIPAL', split='val', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=4,
    dataset=dict(type='PIPALDataset', data_root='data/PIPAL', split='val', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.16, momentum=0.9, nesterov=True, weight_decay=1e-4),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=1)
val_cfg = dict()
test_cfg = dict()
custom_hooks = [dict(type='TwoStageHook', rank_epochs=10)]
val_evaluator = dict(type='IQACorrelation', group_by='scene')
test_evaluator = dict(type='IQACorrelation', group_by='scene')
auto_scale_lr = dict(base_batch_size=64, enable=False)
find_unused_parameters = True
default_hooks = dict(checkpoint=dict(max_keep_ckpts=10, save_best='iqa/SRCC_PLCC_sum', rule='greater'))
randomness = dict(seed=42, diff_rank_seed=True)
