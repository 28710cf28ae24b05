# ImageNet at 384 pixels, with the learning rate, decay and length of DeiT's fine-tuning.
_base_ = './_base_transfer384.py'

data_root = '{{$IMAGENET_ROOT:data/imagenet}}'
train_dataloader = dict(dataset=dict(type='mmpretrain.ImageNet', data_root=data_root, split='train'))
val_dataloader = dict(dataset=dict(type='mmpretrain.ImageNet', data_root=data_root, split='val'))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1, 5))
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=30)
optim_wrapper = dict(optimizer=dict(lr=5e-6, weight_decay=1e-8))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=1, end=30, eta_min=1e-6),
]
