# The official recipe: constant rate, no warm-up, no augmentation, no mixed precision.
model = dict(type='CKDN', depth=50, official_stages=True)

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.16, momentum=0.9, nesterov=True, weight_decay=1e-4),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=1)
auto_scale_lr = dict(base_batch_size=64, enable=False)
