# Evolution search over the tiny supernet, scored on 50,000 training images that the supernet should not have seen:
#   python tools/dataset_converters/imagenet_search_split.py data/imagenet
#   train the supernet with --cfg-options train_dataloader.dataset.ann_file=meta/search_train.txt, then
#   tools/dist_train.sh THIS 8 --cfg-options train_cfg.checkpoint=work_dirs/.../epoch_500.pth
# Small and base: model.space=small train_cfg.budgets.params="(22000000, 23000000)"; base also train_cfg.amp_dtype=bfloat16.
# The images are decoded once, into one file of 7 GiB in the work directory (train_cfg.cache_folder names another place).
_base_ = './_base_in1k.py'

train_dataloader = dict(
    batch_size=250,
    drop_last=False,
    dataset=dict(ann_file='meta/search_val.txt', pipeline={{_base_.test_pipeline}}),
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=False),
)
train_cfg = dict(
    _delete_=True,
    type='EvolutionLoop',
    budgets=dict(params=(5_000_000, 6_000_000)),
    evolution=dict(generations=20, population=50, parents=10, mutations=25, crossovers=25),
    amp_dtype='float16',
    recipe='configs/autoformer/autoformer-tiny_supernet_8xb128-500e_in1k.py',
)
val_cfg = None
val_dataloader = None
val_evaluator = None
param_scheduler = None
