_base_ = './_base_in1k.py'

model = dict(space='small')

# The published search result (22.9 M parameters), beside the ends and the middle of the space.
searched = dict(
    name='searched',
    depth=13,
    embed_dim=384,
    num_heads=[6, 6, 5, 7, 5, 5, 5, 6, 6, 7, 7, 6, 7],
    mlp_ratio=[3.0, 3.5, 3.0, 3.5, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 3.5, 4.0],
)
val_cfg = dict(subnets=['smallest', 'middle', 'largest', searched])
test_cfg = dict(subnets=['smallest', 'middle', 'largest', searched])
