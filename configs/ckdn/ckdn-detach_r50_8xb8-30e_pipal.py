# The pristine features are a fixed target of the alignment.
_base_ = './ckdn_r50_8xb8-30e_pipal.py'

model = dict(detach='pristine')
