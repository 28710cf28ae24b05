# VGG-16 in place of ResNet-50: the first two of its stages are a branch, the third is the comparator.
_base_ = './ckdn_r50_8xb8-30e_pipal.py'

model = dict(backbone='vgg16_bn', cuts=(14, 23))
