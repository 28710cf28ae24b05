# Rate, epochs, batch and weight decay of the official settings; loss, sampling and augmentation are ours (never released).
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.ftcn'], allow_failed_imports=False)
inferencer = dict(type='FTCNInferencer')

model = dict(type='FTCN', clip_len=32, size=224)

methods = ['Deepfakes', 'Face2Face', 'FaceSwap', 'NeuralTextures']
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    drop_last=True,
    dataset=dict(
        type='FaceClips',
        data_root='data/ffpp',
        ann_file='clips.jsonl',
        split='train',
        methods=methods,
        clips_per_video=12,
        jitter=4.0,
        pipeline=[dict(type='AugmentClip'), dict(type='PackClip')],
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=4,
    dataset=dict(
        type='FaceClips',
        data_root='data/ffpp',
        ann_file='clips.jsonl',
        split='val',
        methods=methods,
        pipeline=[dict(type='PackClip')],
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = dict(
    batch_size=4,
    num_workers=4,
    dataset=dict(
        type='FaceClips',
        data_root='data/ffpp',
        ann_file='clips.jsonl',
        split='test',
        methods=methods,
        pipeline=[dict(type='PackClip')],
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
)

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4))
param_scheduler = [dict(type='WarmupCosineLR', end=100, convert_to_iter_based=True)]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=1)
val_cfg = dict()
test_cfg = dict()
val_evaluator = dict(type='VideoForgeryMetric')
test_evaluator = dict(type='VideoForgeryMetric')
auto_scale_lr = dict(base_batch_size=32, enable=False)
default_hooks = dict(checkpoint=dict(save_best='forgery/video_AUC'))
