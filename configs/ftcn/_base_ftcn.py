# What all sizes share: the package, the evaluation.
custom_imports = dict(imports=['openmsra.ftcn'], allow_failed_imports=False)
inferencer = dict(type='FTCNInferencer')

val_cfg = dict()
test_cfg = dict()
val_evaluator = dict(type='VideoForgeryMetric')
test_evaluator = dict(type='VideoForgeryMetric')
