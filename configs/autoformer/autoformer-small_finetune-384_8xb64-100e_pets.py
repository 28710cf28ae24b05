# Oxford-IIIT Pets, 37 classes, in its official layout.
_base_ = './_base_transfer384.py'

model = dict(num_classes=37, data_preprocessor=dict(num_classes=37))
data_root = '{{$PETS_ROOT:data/oxford_pets}}'
train_dataloader = dict(dataset=dict(type='mmpretrain.OxfordIIITPet', data_root=data_root, split='trainval'))
val_dataloader = dict(dataset=dict(type='mmpretrain.OxfordIIITPet', data_root=data_root, split='test'))
test_dataloader = val_dataloader
