# COCO detection and instance segmentation on the C4 map, 90k iterations; ours. See mask-rcnn_r50_fpn_1x_coco.py. The fourth stage
# is the head of the regions here and starts from the same file.
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50-caffe-c4_1x_coco.py'

norm_cfg = dict(type='SyncBN', requires_grad=True)
init_cfg = dict(type='Pretrained', checkpoint='work_dirs/maskco_backbone.pth', prefix='backbone.')
model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(
        frozen_stages=-1, norm_cfg=norm_cfg, norm_eval=False, style='pytorch', init_cfg=dict(_delete_=True, **init_cfg)
    ),
    roi_head=dict(shared_head=dict(norm_cfg=norm_cfg, norm_eval=False, style='pytorch', init_cfg=init_cfg)),
)
