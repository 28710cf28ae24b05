# Small networks for small data on a processor: ResNet-18 of width 16, small views. Sizes, rate and schedule are ours.
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.maskco'], allow_failed_imports=False)
inferencer = dict(type='MaskCoInferencer')

model = dict(
    type='MaskCo',
    backbone=dict(
        type='mmpretrain.ResNet_CIFAR',
        depth=18,
        base_channels=16,
        stem_channels=16,
        num_stages=3,
        strides=(2, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(2,),
    ),
    neck=dict(type='mmpretrain.MoCoV2Neck', in_channels=64, hid_channels=128, out_channels=64, with_avg_pool=False),
    mph=dict(type='MaskPredictionHead', channels=64, mid_channels=32),
    queue_len=2048,
    feat_dim=64,
    momentum=0.99,
    temperature=0.2,
)

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=2e-3, weight_decay=1e-4))
train_cfg = dict(by_epoch=False, max_iters=1000, val_interval=1000)
val_cfg = dict()
test_cfg = dict()
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=100, end=1000, T_max=900, by_epoch=False),
]
default_hooks = dict(logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, interval=100, max_keep_ckpts=1))
custom_hooks = [dict(type='PretextWatch')]
log_processor = dict(by_epoch=False)
auto_scale_lr = dict(base_batch_size=64, enable=False)
