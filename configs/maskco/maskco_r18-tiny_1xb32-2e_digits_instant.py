# Runs the whole path; far too short to compare anything.
_base_ = '_base_digits.py'

model = dict(queue_len=128)
train_dataloader = dict(batch_size=32, dataset=dict(count=512))
val_dataloader = dict(dataset=dict(count=(200, 100)))
test_dataloader = dict(dataset=dict(count=(200, 100)))
train_cfg = dict(max_epochs=2, val_interval=2)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=2, by_epoch=True, convert_to_iter_based=True)]
auto_scale_lr = dict(base_batch_size=32, enable=False)
