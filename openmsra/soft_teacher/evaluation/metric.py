"""Average precision on files that were checked, with labels that mean what the model means."""

from mmdet.evaluation import CocoMetric

from openmsra.common.coco import read_coco
from openmsra.registry import METRICS
from openmsra.soft_teacher.data.coco import index_coco

ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')  # what CocoMetric gives where none are named


@METRICS.register_module()
class CheckedCocoMetric(CocoMetric):
    """mmdet's ``CocoMetric`` that reads the annotation file as the data sets do.

    Categories are matched by name (mmdet: by their order in the file), missing areas are those of the boxes, and a malformed file
    is refused before the network has run. A network that finds nothing has AP 0 (mmdet: no figure at all, so that ``save_best``
    ends the run).

    Args:
        ann_file: COCO file of the images; without it the boxes come with the images.
        kwargs: of ``CocoMetric``.

    Raises:
        AnnotationError: see :func:`read_coco`.
    """

    def __init__(self, ann_file: str | None = None, **kwargs) -> None:
        super().__init__(ann_file=None, **kwargs)
        self._content = read_coco(ann_file) if ann_file is not None else None
        self._coco_api = index_coco(self._content) if self._content else None

    def compute_metrics(self, results: list) -> dict[str, float]:
        """AP and its parts; see ``CocoMetric``."""
        if self._content:
            self._coco_api = index_coco(self._content, self.dataset_meta['classes'])
        figures = super().compute_metrics(results)
        if self.format_only:
            return figures
        names = [f'{kind}_{item}' for kind in self.metrics for item in self.metric_items or ITEMS if kind in ('bbox', 'segm')]
        return dict.fromkeys(names, 0.0) | figures
