# CIFAR-100 from its Python archive, unpacked; nothing is downloaded. Its arrays are RGB already.
_base_ = './_base_transfer384.py'

model = dict(num_classes=100, data_preprocessor=dict(num_classes=100, to_rgb=False))
train_pipeline = [
    dict(type='mmpretrain.RandomResizedCrop', scale=384, crop_ratio_range=(0.6, 1.0), backend='pillow', interpolation='bicubic'),
    dict(type='mmpretrain.RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='mmpretrain.PackInputs'),
]
test_pipeline = [
    dict(type='mmpretrain.Resize', scale=384, backend='pillow', interpolation='bicubic'),
    dict(type='mmpretrain.PackInputs'),
]
data_root = '{{$CIFAR_ROOT:data/cifar100}}'
cifar = dict(type='mmpretrain.CIFAR100', data_root=data_root, download=False)
train_dataloader = dict(dataset=dict(**cifar, split='train', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(**cifar, split='test', pipeline=test_pipeline))
test_dataloader = val_dataloader
