# Retrieval on HMDB51, as _base_retrieval.py has it on UCF101.
_base_ = '_base_retrieval.py'

test_dataloader = _base_.test_dataloader
test_dataloader.dataset.datasets[0].ann_file = 'data/hmdb51/hmdb51_train_split_1_videos.txt'
test_dataloader.dataset.datasets[1].ann_file = 'data/hmdb51/hmdb51_test_split_1_videos.txt'
test_dataloader.dataset.datasets[0].data_root = test_dataloader.dataset.datasets[1].data_root = 'data/hmdb51/videos'
