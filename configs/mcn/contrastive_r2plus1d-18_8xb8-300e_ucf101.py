# Contrastive learning alone, with the clips of the batch as negatives.
_base_ = '_base_pretrain.py'

model = dict(inner=None, meta_head=None, negatives=dict(_delete_=True, kind='batch'))
