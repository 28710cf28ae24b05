# Celeb-DF v2, the official test videos.
_base_ = 'ftcn-tt_r50_8xb2-100e_ffpp-c23.py'

test_dataloader = dict(dataset=dict(data_root='data/celebdf', methods=None))
