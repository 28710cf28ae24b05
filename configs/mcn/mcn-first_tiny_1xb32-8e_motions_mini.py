_base_ = '_base_motions.py'

model = dict(inner=dict(order='first'))
