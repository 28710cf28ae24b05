# FCOS.
_base_ = '_base_one_stage.py'

model = dict(
    detector=dict(
        type='FCOS',
        neck=dict(relu_before_extra_convs=True),
        bbox_head=dict(
            type='FCOSHead',
            strides=[8, 16, 32, 64, 128],
            loss_bbox=dict(type='IoULoss', loss_weight=1.0),
            loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        ),
        train_cfg=None,
    )
)
