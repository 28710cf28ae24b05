# Instance segmentation with warped soft masks; ours, the paper publishes no such experiment.
_base_ = '_base_coco.py'

model = dict(
    detector=dict(
        type='MaskRCNN',
        roi_head=dict(
            mask_roi_extractor=dict(
                type='SingleRoIExtractor',
                roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0),
                out_channels=256,
                featmap_strides=[4, 8, 16, 32],
            ),
            mask_head=dict(
                type='FCNMaskHead',
                num_convs=4,
                in_channels=256,
                conv_out_channels=256,
                num_classes=80,
                loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
            ),
        ),
        train_cfg=dict(rcnn=dict(mask_size=28)),
        test_cfg=dict(rcnn=dict(mask_thr_binary=0.5)),
    ),
    semi_train_cfg=dict(mask_margin=0.1),
)
train_dataloader = _base_.train_dataloader
train_dataloader.dataset.datasets[0].pipeline[1].with_mask = True
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = dict(metric=['bbox', 'segm'])
