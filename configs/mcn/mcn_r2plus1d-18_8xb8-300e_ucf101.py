_base_ = '_base_pretrain.py'
