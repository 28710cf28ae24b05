# Conditional distillation: the score with the pristine reference and the alignment of both references.
_base_ = '_base_bsds500.py'
