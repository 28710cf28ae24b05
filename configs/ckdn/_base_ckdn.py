# What all sizes share: the package, the stages, the evaluation.
custom_imports = dict(imports=['openmsra.ckdn'], allow_failed_imports=False)
inferencer = dict(type='CKDNInferencer')

val_cfg = dict()
test_cfg = dict()
custom_hooks = [dict(type='TwoStageHook', rank_epochs=10), dict(type='CollapseWatchHook')]
val_evaluator = dict(type='IQACorrelation', group_by='scene')
test_evaluator = dict(type='IQACorrelation', group_by='scene')
find_unused_parameters = True
