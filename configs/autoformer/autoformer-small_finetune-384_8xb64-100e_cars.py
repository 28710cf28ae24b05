# Stanford Cars, 196 classes, in its official layout.
_base_ = './_base_transfer384.py'

model = dict(num_classes=196, data_preprocessor=dict(num_classes=196))
data_root = '{{$CARS_ROOT:data/stanford_cars}}'
train_dataloader = dict(dataset=dict(type='mmpretrain.StanfordCars', data_root=data_root, split='train'))
val_dataloader = dict(dataset=dict(type='mmpretrain.StanfordCars', data_root=data_root, split='test'))
test_dataloader = val_dataloader
