_base_ = '_base_finetune.py'

model = dict(num_classes=51, frozen=True, dropout=0.0)
train_dataloader = dict(dataset=dict(ann_file='data/hmdb51/hmdb51_train_split_1_videos.txt', data_root='data/hmdb51/videos'))
val_dataloader = dict(dataset=dict(ann_file='data/hmdb51/hmdb51_test_split_1_videos.txt', data_root='data/hmdb51/videos'))
test_dataloader = dict(dataset=dict(ann_file='data/hmdb51/hmdb51_test_split_1_videos.txt', data_root='data/hmdb51/videos'))
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=0.0), paramwise_cfg=dict(custom_keys={'cls_head': dict(lr_mult=1.0)}))
