# Flowers-102, 102 classes, in its official layout.
_base_ = './_base_transfer384.py'

model = dict(num_classes=102, data_preprocessor=dict(num_classes=102))
data_root = '{{$FLOWERS_ROOT:data/flowers102}}'
train_dataloader = dict(dataset=dict(type='mmpretrain.Flowers102', data_root=data_root, split='trainval'))
val_dataloader = dict(dataset=dict(type='mmpretrain.Flowers102', data_root=data_root, split='test'))
test_dataloader = val_dataloader
