# As for KADID-10k, on LIVE.
_base_ = './ckdn_r50_8xb8-30e_kadid10k.py'

train_dataloader = dict(dataset=dict(data_root='data/live', source='live'))
val_dataloader = dict(dataset=dict(data_root='data/live', source='live'))
test_dataloader = dict(dataset=dict(data_root='data/live', source='live'))
