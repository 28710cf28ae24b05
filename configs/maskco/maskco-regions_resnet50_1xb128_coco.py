# Region probe (ours): RoIAlign at true boxes of COCO, fitted on 20,000 training images, tested on val2017, also by size.
_base_ = '_base_probe_r50.py'

pipeline = [dict(type='PackProbe')]
test_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(
                type='CocoRegions',
                data_root='data/coco/train2017',
                ann_file='../annotations/instances_train2017.json',
                bank=True,
                count=20000,
                pipeline=pipeline,
            ),
            dict(
                type='CocoRegions',
                data_root='data/coco/val2017',
                ann_file='../annotations/instances_val2017.json',
                bank=False,
                pipeline=pipeline,
            ),
        ],
    ),
)
