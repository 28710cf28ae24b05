# Evolution search over the digits supernet, scored on the 297 validation digits that training never saw:
#   python tools/train.py THIS --cfg-options train_cfg.checkpoint=work_dirs/.../epoch_45.pth
_base_ = './_base_digits.py'

train_dataloader = dict(
    batch_size=500,
    drop_last=False,
    dataset=dict(split='val'),
    sampler=dict(shuffle=False),
)
train_cfg = dict(
    _delete_=True,
    type='EvolutionLoop',
    budgets=dict(params=(8_000, 12_000)),
    evolution=dict(generations=8, population=20, parents=5, mutations=10, crossovers=10),
    recipe='configs/autoformer/autoformer_supernet_1xb32-45e_digits_mini.py',
)
val_cfg = None
val_dataloader = None
val_evaluator = None
param_scheduler = None
