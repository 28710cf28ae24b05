# Human scores of KADID-10k with degraded inputs made here; the settings are those for PIPAL and were not tuned.
# The figures are never to be compared with those of the paper.
_base_ = ['../_base_/default_runtime.py', './_base_ckdn.py', './_base_r50.py']

scores = dict(type='FRLabelDataset', data_root='data/kadid10k', source='kadid10k')
rest = [dict(type='ResizeCropPair'), dict(type='PackPair')]
train_pipeline = [dict(type='LoadPair'), dict(type='SyntheticDegraded'), *rest]
test_pipeline = [dict(type='LoadPair'), dict(type='SyntheticDegraded', keep_pristine=False), *rest]
loading = dict(batch_size=8, num_workers=4)
train_dataloader = dict(
    loading,
    drop_last=True,
    dataset=dict(scores, split='train', pipeline=train_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    loading, dataset=dict(scores, split='val', pipeline=test_pipeline), sampler=dict(type='DefaultSampler', shuffle=False)
)
test_dataloader = val_dataloader

default_hooks = dict(checkpoint=dict(max_keep_ckpts=10, save_best='iqa/SRCC_PLCC_sum', rule='greater'))
env_cfg = dict(cudnn_benchmark=True)
randomness = dict(seed=42, diff_rank_seed=True)
