# One against one: trained on Deepfakes alone, tested on all four manipulations.
_base_ = 'ftcn-tt_r50_8xb2-100e_ffpp-c23.py'

train_dataloader = dict(dataset=dict(methods=['Deepfakes']))
val_dataloader = dict(dataset=dict(methods=['Deepfakes']))
