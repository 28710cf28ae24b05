# k-NN on frozen features of ImageNet: 100 training images a class against the validation set (ours).
_base_ = '_base_probe_r50.py'

pipeline = [
    dict(type='mmpretrain.ResizeEdge', scale=256, edge='short', backend='pillow'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackProbe'),
]
test_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(type='LabelledFolder', data_root='data/imagenet/train', bank=True, per_class=100, pipeline=pipeline),
            dict(
                type='LabelledFolder',
                data_root='data/imagenet/val',
                classes='data/imagenet/train',
                bank=False,
                pipeline=pipeline,
            ),
        ],
    ),
)
test_evaluator = dict(probes=['knn'], neighbours=20)
