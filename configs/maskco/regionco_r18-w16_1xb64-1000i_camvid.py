# Plain region contrast: neither mask nor mask prediction head.
_base_ = ['_base_r18-w16.py', '_camvid.py']

model = dict(mask=None, mph=None)
