# Flicker in pans over three photographs; nothing of the astronaut, whose face `openmsra demo` forges and looks for.
_base_ = ['../_base_/default_runtime.py', './_base_ftcn.py', './_base_tiny.py']

custom_imports = dict(imports=['openmsra.ftcn', 'openmsra.miniatures.forgeries', 'openmsra.miniatures.hooks'])

model = dict(clip_len=16)

train_dataloader = dict(dataset=dict(methods=('flicker',), videos=192, photos=('chelsea', 'china', 'coffee'), clip_len=16))
unseen = dict(methods=('flicker', 'gain', 'blend'), videos=24, clip_len=16)
val_dataloader = dict(dataset=unseen)
test_dataloader = dict(dataset=dict(unseen, videos=48))

optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [dict(type='WarmupCosineLR', end=6, convert_to_iter_based=True)]
train_cfg = dict(by_epoch=True, max_epochs=6, val_interval=1)
custom_hooks = [dict(type='ValidateBeforeTraining')]
