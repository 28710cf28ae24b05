"""Pseudo labels under watch: figures in the log, pictures in the work dir, a warning when there are none."""

from collections import Counter, defaultdict
from pathlib import Path

from mmengine.hooks import Hook

from openmsra.registry import HOOKS
from openmsra.soft_teacher.hooks import detector_of
from openmsra.soft_teacher.monitor.pictures import pseudo_label_pictures, save_pictures
from openmsra.soft_teacher.monitor.quality import class_counts, ground_truth_figures, pseudo_label_figures

STATE = 'pseudo_label_monitor'  # in checkpoints


@HOOKS.register_module()
class PseudoLabelMonitor(Hook):
    """Logs the quality of pseudo labels as ``train/pseudo_*`` and warns when there are no pseudo labels to learn from.

    With hidden labels (``UnlabelledCoco(hidden=True)``) precision and recall at an IoU of 0.5 and the mean IoU of the boxes for
    classification and regression are logged too.

    Args:
        interval: iterations between two entries in the log.
        picture_interval: iterations between pictures in ``work_dir/pseudo_labels``; 0 draws none.
        patience: after this many iterations without any box for a part of the loss a warning names the threshold to blame.
    """

    def __init__(self, interval: int = 50, picture_interval: int = 2000, patience: int = 1000) -> None:
        self.interval, self.picture_interval, self.patience = interval, picture_interval, patience
        self.sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.classes: Counter = Counter()
        self.idle: Counter = Counter()

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        model = detector_of(runner)
        pseudo_labels = model.pseudo_labels
        if pseudo_labels is None:
            return
        figures = pseudo_label_figures(pseudo_labels, model.unsup_branch)
        for name, value in figures.items():
            self._add(name, value, 1)
        for name, (numerator, denominator) in ground_truth_figures(pseudo_labels, model.unsup_branch).items():
            self._add(name, numerator, denominator)
        self.classes += class_counts(pseudo_labels, model.unsup_branch)
        self._watch(runner, figures, model)
        if self.every_n_train_iters(runner, self.interval):
            self._write(runner)
        if self.picture_interval and self.every_n_train_iters(runner, self.picture_interval) and runner.rank == 0:
            self._draw(runner, model, data_batch)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """What has been counted since the last entry in the log goes on after a resume."""
        counters = dict(classes=self.classes, idle=self.idle, sums=self.sums)
        checkpoint[STATE] = {name: dict(values) for name, values in counters.items()}

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Of a run that is resumed; weights alone (``load_from``) start to count anew."""
        if runner._resume and STATE in checkpoint:
            self.sums.update({name: list(pair) for name, pair in checkpoint[STATE]['sums'].items()})
            self.classes.update(checkpoint[STATE]['classes'])
            self.idle.update(checkpoint[STATE]['idle'])

    def _add(self, name: str, numerator: float, denominator: float) -> None:
        self.sums[name][0] += numerator
        self.sums[name][1] += denominator

    def _write(self, runner) -> None:
        for name, (numerator, denominator) in self.sums.items():
            if denominator:
                runner.message_hub.update_scalar(f'train/pseudo_{name}', numerator / denominator)
        if self.classes:
            runner.logger.info(f'pseudo labels by class, last {self.interval} iterations: {dict(self.classes.most_common(20))}')
        self.sums.clear()
        self.classes.clear()

    def _watch(self, runner, figures: dict[str, float], model) -> None:
        """Count iterations without boxes for a part of the loss and say once per ``patience`` which threshold stopped them."""
        for part in model.unsup_branch.selections():
            self.idle[part] = 0 if figures[f'boxes_{part}'] else self.idle[part] + 1
            if self.idle[part] == self.patience:
                runner.logger.warning(
                    f'SoftTeacher: no pseudo box for {part} in {self.patience} iterations: '
                    f'{_reason(part, figures, model.settings)}'
                )
                self.idle[part] = 0

    def _draw(self, runner, model, data_batch: dict) -> None:
        batch = model.data_preprocessor(data_batch, True)
        preprocessor = model.data_preprocessor.data_preprocessor
        pictures = pseudo_label_pictures(batch['inputs'], model.pseudo_labels, model.unsup_branch, preprocessor)
        save_pictures(pictures, Path(runner.work_dir) / 'pseudo_labels', f'iter{runner.iter + 1:07d}')


def _reason(part: str, figures: dict[str, float], settings) -> str:
    """Which threshold lets nothing through, with the figure next to it."""
    if not figures['candidates']:
        return (
            f'the teacher finds nothing above pseudo_label_initial_score_thr={settings.pseudo_label_initial_score_thr}. '
            'Train longer before (burn_in_iters), or check the classes of the labelled set.'
        )
    if part == 'reg' and settings.reg_select == 'jitter':
        return (
            f'the uncertainty is {figures.get("uncertainty", float("inf")):.3f} on average and '
            f'reg_pseudo_thr={settings.reg_pseudo_thr}. Raise it.'
        )
    name = 'rpn_pseudo_thr' if part == 'rpn' else 'cls_pseudo_thr'
    return (
        f'{name}={getattr(settings, name)} is above all scores. Lower it, train longer before (burn_in_iters), '
        "or set class_thresholds='prior'."
    )
