_base_ = ['./_base_in1k.py', './_searched_small.py']

model = dict(space='small')
subnets = ['smallest', 'middle', 'largest', dict(name='searched', arch={{_base_.arch}})]
val_cfg = dict(subnets=subnets)
test_cfg = dict(subnets=subnets)
