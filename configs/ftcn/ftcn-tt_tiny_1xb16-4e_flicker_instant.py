# Flicker only, on pans over photographs: shows that the whole path works, nothing about real forgeries.
_base_ = ['../_base_/default_runtime.py', './_base_ftcn.py', './_base_tiny.py']

custom_imports = dict(imports=['openmsra.ftcn', 'openmsra.miniatures.forgeries'])

train_dataloader = dict(dataset=dict(methods=('flicker',), videos=160))
unseen = dict(methods=('flicker', 'gain'), videos=24)
val_dataloader = dict(dataset=unseen)
test_dataloader = dict(dataset=unseen)

param_scheduler = [dict(type='WarmupCosineLR', end=4, convert_to_iter_based=True)]
train_cfg = dict(by_epoch=True, max_epochs=4, val_interval=4)
