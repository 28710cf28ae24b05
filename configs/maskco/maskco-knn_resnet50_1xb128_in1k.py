# k-NN on frozen features of ImageNet: 100 training images a class against the validation set (ours).
# Test only: python tools/test.py CONFIG CHECKPOINT; of MoCo v2 with --cfg-options model.region=view model.mask=None
# model.mph=None
_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.maskco'], allow_failed_imports=False)

data_preprocessor = dict(type='ViewDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
model = dict(
    type='MaskCo',
    backbone=dict(type='mmpretrain.ResNet', depth=50, norm_cfg=dict(type='BN'), zero_init_residual=False),
    neck=dict(type='mmpretrain.MoCoV2Neck', in_channels=2048, hid_channels=2048, out_channels=128, with_avg_pool=False),
    mph=dict(type='MaskPredictionHead', channels=2048, mid_channels=512, num_blocks=2, kernel=3),
)

pipeline = [
    dict(type='mmpretrain.ResizeEdge', scale=256, edge='short', backend='pillow'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackProbe'),
]
test_dataloader = dict(
    batch_size=128,
    num_workers=8,
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(type='LabelledFolder', data_root='data/imagenet/train', bank=True, per_class=100, pipeline=pipeline),
            dict(type='LabelledFolder', data_root='data/imagenet/val', bank=False, pipeline=pipeline),
        ],
    ),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
test_cfg = dict()
test_evaluator = dict(type='FrozenProbe', probes=['knn'], neighbours=20)
