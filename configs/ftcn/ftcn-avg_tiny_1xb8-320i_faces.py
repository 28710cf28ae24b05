# FTCN without the temporal transformer: average over time and space, linear.
_base_ = './_base_faces.py'
