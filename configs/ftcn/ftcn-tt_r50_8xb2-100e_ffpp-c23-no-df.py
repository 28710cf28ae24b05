# Leave one out: trained without Deepfakes, tested on it.
_base_ = 'ftcn-tt_r50_8xb2-100e_ffpp-c23.py'

methods = ['Face2Face', 'FaceSwap', 'NeuralTextures']
train_dataloader = dict(dataset=dict(methods=methods))
val_dataloader = dict(dataset=dict(methods=methods))
test_dataloader = dict(dataset=dict(methods=['Deepfakes']))
