# A short run for `openmsra demo`; the first figure is that of random weights.
_base_ = '_base_digits.py'

custom_imports = dict(imports=['openmsra.maskco', 'openmsra.miniatures.digit_scenes', 'openmsra.miniatures.hooks'])

model = dict(queue_len=256)
train_dataloader = dict(batch_size=32, dataset=dict(count=1024))
train_cfg = dict(max_epochs=6, val_interval=6)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=1, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=1, end=6, T_max=5, by_epoch=True, convert_to_iter_based=True),
]
custom_hooks = [dict(type='PretextWatch'), dict(type='ValidateBeforeTraining')]
# of a whole epoch: single batches of 32 are too few
log_processor = dict(custom_cfg=[dict(data_src='choice_accuracy', window_size='epoch', method_name='mean')])
auto_scale_lr = dict(base_batch_size=32, enable=False)
