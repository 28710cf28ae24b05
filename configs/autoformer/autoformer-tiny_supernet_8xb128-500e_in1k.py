_base_ = './_base_in1k.py'

# The published search result (5.87 M parameters), beside the ends and the middle of the space.
arch = dict(
    depth=13,
    embed_dim=192,
    num_heads=[3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 3, 3],
    mlp_ratio=[3.5, 3.5, 3.0, 3.5, 3.0, 3.0, 4.0, 4.0, 3.5, 4.0, 3.5, 4.0, 3.5],
)
subnets = ['smallest', 'middle', 'largest', dict(name='searched', arch=arch)]
val_cfg = dict(subnets=subnets)
test_cfg = dict(subnets=subnets)
