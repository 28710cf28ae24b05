"""Around a run: checks before it, pictures of a test, the trained detector as a plain one at the end."""

from pathlib import Path

from mmdet.models.detectors import SingleStageDetector
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel
from torch import nn

from openmsra.common.images import write_rgb
from openmsra.engine.checkpoint.io import save_file
from openmsra.engine.inferencer import numbered_name
from openmsra.engine.wrappers import unwrapped
from openmsra.errors import ConfigError
from openmsra.registry import HOOKS
from openmsra.soft_teacher.inferencer import bgr_pixels, draw, plain_row


@HOOKS.register_module()
class NumClassesHook(Hook):
    """Compares the classes of the data with those of the heads before a training, validation or test (mmdet warns at most).

    Raises:
        ConfigError: another number; a head with too few classes would learn the last ones as background.
    """

    def before_train(self, runner) -> None:
        self._check(runner, runner.train_dataloader.dataset)

    def before_val(self, runner) -> None:
        self._check(runner, runner.val_dataloader.dataset)

    def before_test(self, runner) -> None:
        self._check(runner, runner.test_dataloader.dataset)

    def _check(self, runner, dataset) -> None:
        classes, head = dataset.metainfo.get('classes'), num_classes(detector_of(runner).student)
        if classes is not None and len(classes) != head:
            names = ', '.join(classes[:5]) + (', ...' if len(classes) > 5 else '')
            raise ConfigError(
                f'the data has {len(classes)} classes ({names}), the heads of model.detector have num_classes={head}. '
                'Set both to the same.'
            )


def num_classes(detector: nn.Module) -> int:
    """C of the box head, the first one of a cascade."""
    head = detector.bbox_head if isinstance(detector, SingleStageDetector) else detector.roi_head.bbox_head
    return (head[0] if isinstance(head, nn.ModuleList) else head).num_classes


@HOOKS.register_module()
class DetectionPictures(Hook):
    """Draws the detections of a test, for ``tools/test.py --show-dir``.

    Pictures are numbered, so that images of one name in two folders do not overwrite each other (in mmdet's hook they do).

    Args:
        enable: draw at all.
        interval: every so many images.
        out_dir: folder for the pictures.
        score_thr: detections below it are not drawn.
    """

    def __init__(self, enable: bool = False, interval: int = 1, out_dir: str = 'pictures', score_thr: float = 0.3) -> None:
        self.enable, self.interval, self.out_dir, self.score_thr = enable, interval, Path(out_dir), score_thr
        self.images = 0

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=()) -> None:
        if not self.enable:
            return
        self.out_dir.mkdir(parents=True, exist_ok=True)
        for sample in outputs:
            number = self.images * runner.world_size + runner.rank
            self.images += 1
            if number % self.interval == 0:
                row = plain_row(sample, runner.test_dataloader.dataset.metainfo['classes'])
                picture = draw(bgr_pixels(Path(sample.img_path)), row, self.score_thr)
                write_rgb(self.out_dir / numbered_name(number, sample.img_path, '.png'), picture[..., ::-1])


@HOOKS.register_module()
class ExportDetector(Hook):
    """Writes a network as a plain detector at the end of the training: ``teacher.pth`` or ``student.pth`` in the work dir.

    Args:
        network: 'teacher', 'student' or 'mean' of both.
    """

    def __init__(self, network: str = 'teacher') -> None:
        self.network = network

    def after_train(self, runner) -> None:
        if runner.rank == 0:
            path = f'{runner.work_dir}/{self.network}.pth'
            dataset_meta = dict(runner.visualizer.dataset_meta or {})
            save_file(plain_detector(detector_of(runner).state_dict(), self.network, dataset_meta), path)
            runner.logger.info(f'SoftTeacher: wrote the {self.network} as a plain detector to {path}')


def plain_detector(state: dict, network: str = 'teacher', dataset_meta: dict | None = None) -> dict:
    """The checkpoint of one of the two networks under the names of the plain detector config.

    Args:
        state: ``state_dict`` of :class:`SoftTeacher`.
        network: 'teacher', 'student' or 'mean' of both.
        dataset_meta: class names and the like, which mmdet's inference reads.

    Raises:
        ValueError: an unknown network, or ``state`` is not of a teacher and a student.
    """
    if network not in ('teacher', 'student', 'mean'):
        raise ValueError(f"network={network!r}; valid are 'teacher', 'student' and 'mean'.")
    parts = {
        name: {key.removeprefix(f'{name}.'): value.cpu() for key, value in state.items() if key.startswith(f'{name}.')}
        for name in ('teacher', 'student')
    }
    if not all(parts.values()):
        raise ValueError('the checkpoint has no keys "teacher.*" and "student.*": it is not one of Soft Teacher.')
    if network == 'mean':
        weights = {
            key: (value + parts['student'][key]) / 2 if value.is_floating_point() else value
            for key, value in parts['teacher'].items()
        }
    else:
        weights = parts[network]
    return dict(state_dict=weights, meta=dict(dataset_meta=dataset_meta or {}))


def detector_of(runner):
    """The detector inside of what distributes it and of what merges its views."""
    model = unwrapped(runner.model)
    return model.module if isinstance(model, BaseTTAModel) else model
