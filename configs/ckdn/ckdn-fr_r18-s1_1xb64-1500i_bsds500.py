# The pristine reference, in tests as well.
_base_ = '_base_bsds500.py'

model = dict(reference='pristine')
