_base_ = '_base_motions.py'
