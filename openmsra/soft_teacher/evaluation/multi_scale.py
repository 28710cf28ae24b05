"""Tests with several sizes and flips of each image, as the 60.4 AP of HTC++ were measured."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mmdet.models.roi_heads import BaseRoIHead
from mmdet.models.test_time_augs import DetTTAModel
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.runner import TestLoop
from torch import nn

from openmsra.engine.wrappers import unwrapped
from openmsra.errors import ConfigError
from openmsra.registry import LOOPS


@LOOPS.register_module()
class MultiScaleTestLoop(TestLoop):
    """Merges the boxes of all views of an image by another NMS; masks are not merged (mmdet cannot) and not computed.

    The pipeline of the test data ends with ``TestTimeAug``; each view must be packed with ``flip`` and ``flip_direction``.

    Args:
        dataloader, evaluator, fp16: see mmengine's ``TestLoop``.
        nms: how the boxes of all views are thinned out, an ``nms`` of mmdet.
        max_per_img: boxes that are kept.

    Raises:
        ConfigError: the pipeline makes one view.
    """

    def __init__(self, runner, dataloader, evaluator, nms: dict, max_per_img: int = 100, fp16: bool = False) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        steps = getattr(self.dataloader.dataset, 'pipeline', None)
        if not any(type(step).__name__ == 'TestTimeAug' for step in getattr(steps, 'transforms', [])):
            raise ConfigError("MultiScaleTestLoop: test_dataloader.dataset.pipeline must end with type='TestTimeAug'.")
        self.merge_cfg = ConfigDict(nms=nms, max_per_img=max_per_img)

    def run(self) -> dict[str, float]:
        """The metrics."""
        model = self.runner.model
        detector = unwrapped(model)
        self.runner.model = BoxTTAModel(module=detector, tta_cfg=self.merge_cfg)
        try:
            with without_masks(detector):
                return super().run()
        finally:
            self.runner.model = model


@contextmanager
def without_masks(detector: nn.Module) -> Iterator[None]:
    """Let the R-CNN heads of a detector find boxes alone: mmdet's cascades cannot compute the masks of a mirrored image."""
    heads = {module: module.mask_head for module in detector.modules() if isinstance(module, BaseRoIHead) and module.with_mask}
    for head in heads:
        head.mask_head = None
    try:
        yield
    finally:
        for head, mask_head in heads.items():
            head.mask_head = mask_head


class BoxTTAModel(DetTTAModel):
    """mmdet's merging of boxes, also for detectors with masks."""

    def merge_preds(self, data_samples_list: Sequence[list[DetDataSample]]) -> list[DetDataSample]:
        """One sample for each image, from those of its views."""
        for views in data_samples_list:
            for view in views:
                view.pred_instances.pop('masks', None)
        return super().merge_preds(data_samples_list)
