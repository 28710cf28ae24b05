# The supernet on CIFAR-10.
_base_ = '_base_cifar10.py'
