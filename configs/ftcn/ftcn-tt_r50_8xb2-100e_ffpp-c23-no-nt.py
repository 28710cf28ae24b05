# Leave one out: trained without NeuralTextures, tested on it.
_base_ = 'ftcn-tt_r50_8xb2-100e_ffpp-c23.py'

methods = ['Deepfakes', 'Face2Face', 'FaceSwap']
train_dataloader = dict(dataset=dict(methods=methods))
val_dataloader = dict(dataset=dict(methods=methods))
test_dataloader = dict(dataset=dict(methods=['NeuralTextures']))
