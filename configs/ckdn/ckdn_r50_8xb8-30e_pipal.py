_base_ = './_base_pipal.py'
