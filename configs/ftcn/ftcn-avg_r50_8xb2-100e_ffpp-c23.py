# FTCN without the temporal transformer: average over time and space, linear.
_base_ = 'ftcn-tt_r50_8xb2-100e_ffpp-c23.py'

model = dict(head=dict(kind='average'))
