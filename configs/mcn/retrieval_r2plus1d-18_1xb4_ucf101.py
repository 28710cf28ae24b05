_base_ = ['../_base_/default_runtime.py', '_base_retrieval.py']
