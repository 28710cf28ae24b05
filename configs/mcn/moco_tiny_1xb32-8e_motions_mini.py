# Contrastive learning alone with momentum encoder and queue.
_base_ = '_base_motions.py'

model = dict(inner=None, meta_head=None, negatives=dict(_delete_=True, kind='queue', length=512, momentum=0.99))
