# As for KADID-10k, on TID2013.
_base_ = './ckdn_r50_8xb8-30e_kadid10k.py'

train_dataloader = dict(dataset=dict(data_root='data/tid2013', source='tid2013'))
val_dataloader = dict(dataset=dict(data_root='data/tid2013', source='tid2013'))
test_dataloader = dict(dataset=dict(data_root='data/tid2013', source='tid2013'))
