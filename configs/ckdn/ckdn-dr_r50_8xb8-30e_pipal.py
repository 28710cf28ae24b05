# Degraded reference only: the pristine image is never seen.
_base_ = './ckdn_r50_8xb8-30e_pipal.py'

model = dict(distil=False, official_stages=False)
