_base_ = '_base_finetune.py'
