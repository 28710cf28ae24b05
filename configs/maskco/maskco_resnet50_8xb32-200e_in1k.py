_base_ = '_base_r50.py'
