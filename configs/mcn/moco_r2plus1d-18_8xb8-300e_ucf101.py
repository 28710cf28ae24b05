# Contrastive learning alone, with momentum encoder and queue.
_base_ = '_base_pretrain.py'

model = dict(inner=None, meta_head=None)
