# Runs the whole path; far too short to compare anything.
_base_ = '_base_motions.py'

model = dict(gain_interval=2)
train_dataloader = dict(batch_size=16, dataset=dict(count=64))
pipeline = [dict(type='mmaction.CenterCrop', crop_size=32)]
val_dataloader = dict(
    batch_size=32,
    dataset=dict(
        datasets=[
            dict(
                type='MovingPatches',
                split='train',
                count=64,
                role='gallery',
                sampling='uniform',
                clips=1,
                clip_len=9,
                interval=1,
                pipeline=pipeline,
            ),
            dict(
                type='MovingPatches',
                split='test',
                count=64,
                role='query',
                sampling='uniform',
                clips=1,
                clip_len=9,
                interval=1,
                pipeline=pipeline,
            ),
        ],
    ),
)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=2, val_interval=2)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=2, by_epoch=True, convert_to_iter_based=True)]
auto_scale_lr = dict(base_batch_size=16, enable=False)
