# Without the mask prediction head.
_base_ = ['_base_r18-w16.py', '_camvid.py']

model = dict(mph=None)
