_base_ = '_base_fir-actions.py'
