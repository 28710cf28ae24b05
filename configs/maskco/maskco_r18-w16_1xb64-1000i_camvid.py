# Contrastive mask prediction on street scenes, without negatives of the same image.
_base_ = ['_base_r18-w16.py', '_camvid.py']
