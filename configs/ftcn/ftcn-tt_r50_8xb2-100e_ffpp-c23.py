# Optimiser, schedule, batch, initialisation and precise batch norm of the official settings, the defaults of SlowFast included;
# loss, sampling and augmentation are ours (never released).
_base_ = ['../_base_/default_runtime.py', './_base_ftcn.py']

model = dict(type='FTCN', clip_len=32, size=224, official_init=True)

methods = ['Deepfakes', 'Face2Face', 'FaceSwap', 'NeuralTextures']
faces = dict(type='FaceClips', data_root='data/ffpp', ann_file='clips.jsonl', methods=methods)
loading = dict(num_workers=4, persistent_workers=True, pin_memory=True)
train_dataloader = dict(
    loading,
    batch_size=2,
    drop_last=True,
    dataset=dict(
        faces, split='train', clips_per_video=12, jitter=4.0, pipeline=[dict(type='AugmentClip', flip=0.0), dict(type='PackClip')]
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
evaluation = dict(loading, batch_size=4, sampler=dict(type='DefaultSampler', shuffle=False))
val_dataloader = dict(evaluation, dataset=dict(faces, split='val', pipeline=[dict(type='PackClip')]))
test_dataloader = dict(evaluation, dataset=dict(faces, split='test', pipeline=[dict(type='PackClip')]))

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4),
    # SlowFast exempts batch norms from weight decay, nothing else; mmengine's switch for norms exempts LayerNorm too
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys={'time_T': dict(decay_mult=1.0)}),
)
param_scheduler = [dict(type='WarmupCosineLR', end=100, convert_to_iter_based=True)]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=1)
custom_hooks = [dict(type='PreciseBNHook', num_batches=200)]
auto_scale_lr = dict(base_batch_size=16, enable=False)
default_hooks = dict(checkpoint=dict(save_best='forgery/video_AUC'))
env_cfg = dict(cudnn_benchmark=True)  # all clips have one shape
