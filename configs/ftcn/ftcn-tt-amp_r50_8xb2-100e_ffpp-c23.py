# In bfloat16 half of the activations are kept (see the page); loss, softmax and the statistics of norms stay in float32.
# For float16, on cards without bfloat16: --cfg-options optim_wrapper.dtype=float16
_base_ = './ftcn-tt_r50_8xb2-100e_ffpp-c23.py'

optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16')
