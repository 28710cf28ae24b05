# Three epochs of the miniature, for `openmsra demo`; the first figure is that of random weights.
_base_ = '_base_motions.py'

custom_imports = dict(imports=['openmsra.mcn', 'openmsra.miniatures.motions', 'openmsra.miniatures.hooks'])

train_cfg = dict(max_epochs=3, val_interval=1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=1, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=1, end=3, T_max=2, by_epoch=True, convert_to_iter_based=True),
]
custom_hooks = [dict(type='AdaptationWatch'), dict(type='ValidateBeforeTraining')]
