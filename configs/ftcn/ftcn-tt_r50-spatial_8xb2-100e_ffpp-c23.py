# A token for each position in place of each moment.
_base_ = 'ftcn-tt_r50_8xb2-100e_ffpp-c23.py'

model = dict(head=dict(patch='spatial'))
