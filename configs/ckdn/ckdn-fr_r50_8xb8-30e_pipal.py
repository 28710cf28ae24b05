# Full reference, the upper bound: scores against the pristine image, in tests as well.
_base_ = './ckdn_r50_8xb8-30e_pipal.py'

model = dict(reference='pristine', official_stages=False)
val_dataloader = dict(dataset=dict(roles=('restored', 'pristine')))
test_dataloader = dict(dataset=dict(roles=('restored', 'pristine')))
