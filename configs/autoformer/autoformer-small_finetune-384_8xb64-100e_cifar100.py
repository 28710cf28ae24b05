# CIFAR-100 from its Python archive, unpacked; nothing is downloaded. Its arrays are RGB already.
_base_ = './_base_transfer384.py'

model = dict(num_classes=100, data_preprocessor=dict(num_classes=100, to_rgb=False))
cifar = dict(type='mmpretrain.CIFAR100', data_root='{{$CIFAR_ROOT:data/cifar100}}', download=False)
train_dataloader = dict(dataset=dict(**cifar, split='train', pipeline={{_base_.augmentation}}))
val_dataloader = dict(dataset=dict(**cifar, split='test', pipeline={{_base_.preparation}}))
test_dataloader = val_dataloader
