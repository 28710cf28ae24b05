_base_ = '_base_retrieval_hmdb51.py'
