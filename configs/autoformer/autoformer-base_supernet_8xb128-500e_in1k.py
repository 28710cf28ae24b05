_base_ = './_base_in1k.py'

model = dict(space='base')

# The published search result (53.7 M parameters), beside the ends and the middle of the space.
arch = dict(
    depth=14,
    embed_dim=576,
    num_heads=[9, 9, 9, 9, 9, 10, 9, 9, 10, 9, 10, 9, 9, 10],
    mlp_ratio=[3.5, 3.5, 4.0, 3.5, 4.0, 3.5, 3.5, 3.0, 4.0, 4.0, 3.0, 4.0, 3.0, 3.5],
)
subnets = ['smallest', 'middle', 'largest', dict(name='searched', arch=arch)]
val_cfg = dict(subnets=subnets)
test_cfg = dict(subnets=subnets)

# fp16 training of the base supernet is known to turn into NaN between epochs 200 and 300; bfloat16 does not overflow.
optim_wrapper = dict(dtype='bfloat16', loss_scale=1.0)
