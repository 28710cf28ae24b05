# DFDC, the test videos that were prepared (`ftcn_faces.py dfdc ROOT --only LIST` for a subset).
_base_ = 'ftcn-tt_r50_8xb2-100e_ffpp-c23.py'

test_dataloader = dict(dataset=dict(data_root='data/dfdc', methods=None))
