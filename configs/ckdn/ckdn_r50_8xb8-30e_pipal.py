# The official recipe: constant rate, no warm-up, no augmentation; selection on the evaluation scenes, as there.
_base_ = ['../_base_/default_runtime.py', './_base_ckdn.py', './_base_r50.py']

pairs = dict(
    type='PIPALDataset',
    data_root='data/PIPAL',
    pipeline=[dict(type='LoadPair'), dict(type='ResizeCropPair'), dict(type='PackPair')],
)
loading = dict(batch_size=8, num_workers=4)
train_dataloader = dict(
    loading, drop_last=True, dataset=dict(pairs, split='train'), sampler=dict(type='DefaultSampler', shuffle=True)
)
val_dataloader = dict(loading, dataset=dict(pairs, split='val'), sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = val_dataloader

default_hooks = dict(checkpoint=dict(max_keep_ckpts=10, save_best='iqa/SRCC_PLCC_sum', rule='greater'))
env_cfg = dict(cudnn_benchmark=True)
randomness = dict(seed=42, diff_rank_seed=True)
