_base_ = '_base_finetune.py'

model = dict(backbone=dict(_delete_=True, type='S3D'), num_classes=51)
train_dataloader = dict(dataset=dict(ann_file='data/hmdb51/hmdb51_train_split_1_videos.txt', data_root='data/hmdb51/videos'))
val_dataloader = dict(dataset=dict(ann_file='data/hmdb51/hmdb51_test_split_1_videos.txt', data_root='data/hmdb51/videos'))
test_dataloader = dict(dataset=dict(ann_file='data/hmdb51/hmdb51_test_split_1_videos.txt', data_root='data/hmdb51/videos'))
