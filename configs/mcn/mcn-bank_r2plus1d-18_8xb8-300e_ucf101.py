# A memory bank in the place of the queue.
_base_ = '_base_pretrain.py'

model = dict(negatives=dict(_delete_=True, kind='bank', capacity=9537, draws=4096))
