# More patches and epochs than the instant config, for `openmsra demo`: filters on noisy patches of four photographs.
_base_ = './ckdn_r18_1xb8-2e_photos_instant.py'

custom_imports = dict(imports=['openmsra.ckdn', 'openmsra.miniatures.filtered_photos', 'openmsra.miniatures.hooks'])

train_dataloader = dict(batch_size=16, dataset=dict(patches=12))
val_dataloader = dict(batch_size=16, dataset=dict(patches=12))
test_dataloader = dict(batch_size=16, dataset=dict(patches=12))
train_cfg = dict(max_epochs=8, val_interval=1)
custom_hooks = [
    dict(type='TwoStageHook', rank_epochs=0),
    dict(type='CollapseWatchHook'),
    dict(type='ValidateBeforeTraining'),
]
auto_scale_lr = dict(base_batch_size=16, enable=False)
