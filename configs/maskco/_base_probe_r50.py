# What probes of frozen features share. Test only: python tools/test.py CONFIG CHECKPOINT; of MoCo v2 with --cfg-options
# model.region=view model.mask=None model.mph=None
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.maskco'], allow_failed_imports=False)
inferencer = dict(type='MaskCoInferencer')

data_preprocessor = dict(type='ViewDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
model = dict(
    type='MaskCo',
    backbone=dict(type='mmpretrain.ResNet', depth=50, norm_cfg=dict(type='BN'), zero_init_residual=False),
    neck=dict(type='mmpretrain.MoCoV2Neck', in_channels=2048, hid_channels=2048, out_channels=128, with_avg_pool=False),
    mph=dict(type='MaskPredictionHead', channels=2048, mid_channels=512, num_blocks=2, kernel=3),
)

test_dataloader = dict(
    batch_size=128,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
test_cfg = dict()
test_evaluator = dict(type='FrozenProbe')
