_base_ = '_base_retrieval.py'
