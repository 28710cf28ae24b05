# Transfer in miniature: the detector of the Soft Teacher miniature, trained on its labelled cut-outs alone from the backbone that
# was pre-trained on digits. benchmarks/maskco_claims.py sets the checkpoint; without one it starts from random weights. Sizes
# and schedule are ours; strides are half of the Soft Teacher's, since this backbone has no stride before its first stage.
_base_ = '../../soft_teacher/_base_shapes.py'

custom_imports = dict(
    imports=['openmsra.maskco', 'openmsra.soft_teacher', 'openmsra.miniatures.shape_scenes'],
    allow_failed_imports=False,
)

model = dict(
    detector=dict(
        backbone=dict(
            _delete_=True,
            type='mmpretrain.ResNet_CIFAR',
            depth=18,
            base_channels=16,
            stem_channels=16,
            num_stages=3,
            strides=(2, 2, 2),
            dilations=(1, 1, 1),
            out_indices=(1, 2),
        ),
        rpn_head=dict(anchor_generator=dict(strides=[4, 8], scales=[4.0, 6.4])),
        roi_head=dict(bbox_roi_extractor=dict(featmap_strides=[4, 8])),
    ),
    semi_train_cfg=dict(unsup_weight=0.0),
    semi_test_cfg=dict(predict_on='student'),
    mean_teacher=dict(keep_loaded_teacher=False),
)

train_dataloader = dict(
    _delete_=True,
    batch_size=4,
    num_workers=0,
    dataset={{_base_.labelled}},
    sampler=dict(type='InfiniteSampler', shuffle=True),
)
val_cfg = dict(networks=('student',))
custom_hooks = [dict(type='NumClassesHook')]
default_hooks = dict(checkpoint=None)
auto_scale_lr = dict(base_batch_size=4, enable=False)
