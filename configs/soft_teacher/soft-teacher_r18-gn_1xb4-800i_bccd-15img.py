# Blood cells of BCCD: 15 labelled images of 292. First:
#   python tools/dataset_converters/split_coco_semi.py data/bccd/annotations/instances_trainval.json --count 15 --folds 1
# Many cells at the borders have no box in the source, so that right pseudo labels count as wrong.
_base_ = '_base_deeppcb.py'

model = dict(detector=dict(roi_head=dict(bbox_head=dict(num_classes=3))))
metainfo = dict(classes=('RBC', 'WBC', 'Platelets'))
labelled = _base_.labelled
labelled.metainfo = metainfo
labelled.data_root = 'data/bccd/'
labelled.ann_file = 'annotations/semi_supervised/instances_trainval.1@15img.json'
unlabelled = _base_.unlabelled
unlabelled.metainfo = metainfo
unlabelled.data_root = 'data/bccd/'
unlabelled.ann_file = 'annotations/semi_supervised/instances_trainval.1@15img-unlabeled.json'
train_dataloader = dict(dataset=dict(datasets=[labelled, unlabelled]))
val_dataloader = dict(dataset=dict(data_root='data/bccd/', metainfo=metainfo))
test_dataloader = dict(dataset=dict(data_root='data/bccd/', metainfo=metainfo))
val_evaluator = dict(ann_file='data/bccd/annotations/instances_test.json')
test_evaluator = dict(ann_file='data/bccd/annotations/instances_test.json')
