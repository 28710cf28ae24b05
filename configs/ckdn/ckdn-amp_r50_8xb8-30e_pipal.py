# In bfloat16; scores, distances of features and losses stay in float32. The official recipe is float32.
# For float16, on cards without bfloat16: --cfg-options optim_wrapper.dtype=float16
_base_ = './ckdn_r50_8xb8-30e_pipal.py'

optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16')
