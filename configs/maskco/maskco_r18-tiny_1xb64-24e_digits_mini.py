_base_ = '_base_digits.py'
