_base_ = '_base_pretrain.py'

model = dict(backbone=dict(_delete_=True, type='S3D', recompute=True), negatives=dict(length=16384))
train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        ann_file='data/kinetics400/kinetics400_train_videos.txt',
        data_root='data/kinetics400/videos_train',
        short_side=256,  # as downloaded, 64 frames of 1080p are 400 MB
    ),
)
optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16', optimizer=dict(lr=0.12))
train_cfg = dict(max_epochs=200)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=10, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=10, end=200, T_max=190, by_epoch=True, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=256, enable=False)
