# Average pools in the place of max pools, which see order statistics of neighbouring pixels.
_base_ = './_base_faces.py'

model = dict(backbone=dict(spatial_pool='average'))
