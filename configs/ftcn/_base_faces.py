# Videos of aligned faces, 112 pixels, 32 frames, in a table; forgeries for the training are made from the same real clips.
# For your own: data/faces/list.csv with the columns path,label,method,identity,split. Listed forgeries of the training part take
# part too (forge=False: they alone). Sizes, rate and schedule are ours, for a processor.
_base_ = ['../_base_/default_runtime.py', './_base_ftcn.py']

model = dict(type='FTCN', clip_len=32, size=112, backbone=dict(depths=(1, 1, 1), channels=8), head=dict(kind='average'))

faces = dict(type='FaceVideos', data_root='data/faces', ann_file='list.csv', clip_len=32, size=112)
# from 0.7 to 4 pixels of jitter at 112 pixels: with half of it a plain 3D network does not learn a thing in 160 steps
forgeries = dict(type='ForgeFace', jitter=(1.0, 6.0))
held_out = ('person05', 'person09', 'person16', 'person22')  # people of the training part who choose rates and thresholds
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    drop_last=True,
    dataset=dict(
        faces,
        split='train',
        forge=True,
        held_out=held_out,
        clips_per_video=16,
        pipeline=[forgeries, dict(type='AugmentClip', erase=0.0), dict(type='PackClip')],
    ),
    sampler=dict(type='PairedSampler'),
)
evaluation = dict(batch_size=8, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
val_dataloader = dict(
    evaluation,
    dataset=dict(faces, split='val', forge=True, held_out=held_out, pipeline=[dict(forgeries, seed=0), dict(type='PackClip')]),
)
test_dataloader = dict(evaluation, dataset=dict(faces, split='test', pipeline=[dict(type='PackClip')]))

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05), clip_grad=dict(max_norm=1.0))
param_scheduler = [dict(type='WarmupCosineLR', end=320, by_epoch=False)]
train_cfg = dict(by_epoch=False, max_iters=320, val_interval=80)
default_hooks = dict(logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, interval=80, max_keep_ckpts=1))
log_processor = dict(by_epoch=False)
auto_scale_lr = dict(base_batch_size=8, enable=False)
