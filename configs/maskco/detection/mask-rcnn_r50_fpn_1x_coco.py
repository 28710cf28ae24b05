# COCO detection and instance segmentation, 90k iterations; ours. The backbone is what tools/model_converters/maskco_export.py
# writes. Trained with mmdet's own tools; all layers with SyncBN, as is usual for self-supervised backbones.
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'

norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    backbone=dict(
        frozen_stages=-1,
        norm_cfg=norm_cfg,
        norm_eval=False,
        init_cfg=dict(_delete_=True, type='Pretrained', checkpoint='work_dirs/maskco_backbone.pth', prefix='backbone.'),
    ),
    neck=dict(norm_cfg=norm_cfg),
)
