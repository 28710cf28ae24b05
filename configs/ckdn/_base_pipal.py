_base_ = '../_base_/default_runtime.py'

custom_imports = dict(imports=['openmsra.ckdn'], allow_failed_imports=False)

model = dict(type='CKDN', depth=50, official_stages=True)
auto_scale_lr = dict(base_batch_size=64, enable=False)
