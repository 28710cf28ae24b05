# One GPU: 256 images in mixed precision. Shuffling of BatchNorm needs several devices, so one device does without.
_base_ = '_base_r50.py'

train_dataloader = dict(batch_size=256, num_workers=16)
optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')
