# As for KADID-10k, on CSIQ.
_base_ = './ckdn_r50_8xb8-30e_kadid10k.py'

train_dataloader = dict(dataset=dict(data_root='data/csiq', source='csiq'))
val_dataloader = dict(dataset=dict(data_root='data/csiq', source='csiq'))
test_dataloader = dict(dataset=dict(data_root='data/csiq', source='csiq'))
