"""Checkpoints of a training that is killed at any moment, or whose disk is full: the previous one is always there."""

import errno
import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import torch
from mmengine.dist import all_gather_object, broadcast_object_list, get_rank
from mmengine.hooks import CheckpointHook

from openmsra.engine.checkpoint.files import remove_stale_temporaries, write_durably
from openmsra.engine.checkpoint.io import compact, load_file
from openmsra.errors import CheckpointWriteError, ConfigError, DamagedCheckpointError
from openmsra.registry import HOOKS
from openmsra.suggest import did_you_mean

POINTER = 'last_checkpoint'
PREEMPTED = 'preempted.pth'
NUMBERED = re.compile(r'(epoch|iter)_(\d+)\.pth')


@HOOKS.register_module()
class DurableCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook`` in a safe order: write the new file, then the pointer to it, and only then delete old ones.

    Files appear whole or not at all (temporary file, fsync, atomic replace, fsync of the folder), best checkpoints too. Only
    checkpoints in the folder of the run are ever deleted, whatever names a resumed checkpoint contains.

    Args:
        on_write_error: 'warn' keeps the previous checkpoint when a new one cannot be written (the disk is full, say) and goes on;
            'stop' ends the run.
        interval, by_epoch, max_keep_ckpts, save_best, ...: see mmengine's hook. Files are local: no ``backend_args``.

    Raises:
        CheckpointWriteError: writing fails and ``on_write_error='stop'``.
    """

    # what the metrics of the six papers are called, beside mmengine's 'acc', 'top', 'auc', 'precision', 'mAP' and so on
    _default_greater_keys = [*CheckpointHook._default_greater_keys, 'R@', 'recall', 'SRCC', 'PLCC', 'KRCC', 'F1', 'AP50', 'TPR']
    _default_less_keys = [*CheckpointHook._default_less_keys, 'RMSE', 'error', 'EER', 'FPR']

    def __init__(self, *args, on_write_error: str = 'warn', **kwargs) -> None:
        try:
            super().__init__(*args, **kwargs)
        except ValueError as error:
            if 'Cannot infer the rule' not in str(error):
                raise
            raise ConfigError(
                f'DurableCheckpointHook: whether a higher or a lower {kwargs.get("save_best")} is better cannot be told from its '
                "name; add rule='greater' or rule='less' to default_hooks.checkpoint."
            ) from None
        if on_write_error not in ('warn', 'stop'):
            raise ValueError(f"DurableCheckpointHook: on_write_error={on_write_error!r}; valid are 'warn' and 'stop'.")
        if self.backend_args or self.file_client_args:
            raise ValueError('DurableCheckpointHook writes to local folders; leave backend_args and file_client_args out.')
        self.on_write_error = on_write_error

    def before_train(self, runner) -> None:
        """mmengine's preparation, without its deletions, and the removal of what killed runs have left."""
        runner.message_hub.runtime_info.pop('keep_ckpt_ids', None)  # from the file: not to be trusted with deletions
        self.backend_args = dict(backend='durable')
        super().before_train(runner)
        self.file_backend.folder = folder = Path(self.out_dir)
        for name in {'best_ckpt_path', 'best_ckpt_path_dict'} & vars(self).keys():
            setattr(self, name, _moved(getattr(self, name), folder))
        if get_rank() == 0:
            for path in remove_stale_temporaries(folder):
                runner.logger.info(f'Removed {path}, which a killed run had left half written.')
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids = deque(self._steps_of_this_run(runner, folder))

    def _steps_of_this_run(self, runner, folder: Path) -> list[int]:
        """Numbers of the checkpoints that a resumed run has written before."""
        now = runner.epoch if self.by_epoch else runner.iter
        resumed_from = getattr(runner, 'resumed_from', None)
        if resumed_from is None or resumed_from.parent.resolve() != folder.resolve():
            return []
        head, tail = self.filename_tmpl.split('{}')
        numbers = (path.name[len(head) : len(path.name) - len(tail)] for path in folder.glob(f'{head}*{tail}'))
        return sorted(int(number) for number in numbers if number.isdigit() and int(number) <= now)

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        """Write, point, prune."""
        path, steps = Path(self.out_dir) / self.filename_tmpl.format(step), []
        if self.max_keep_ckpts > 0:
            steps = [*(earlier for earlier in self.keep_ckpt_ids if earlier != step), step]

        def save() -> None:
            self.file_backend.remove(Path(self.out_dir) / PREEMPTED)  # after this one is written
            kept = steps[-self.max_keep_ckpts :]
            runner.message_hub.update_info('last_ckpt', str(path))
            if kept:
                runner.message_hub.update_info('keep_ckpt_ids', kept)
            runner.save_checkpoint(
                self.out_dir,
                path.name,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
                **self.args,
            )
            self._point_to(runner, path)
            for old in steps[: -self.max_keep_ckpts]:
                self.file_backend.remove(Path(self.out_dir) / self.filename_tmpl.format(old))
            self.keep_ckpt_ids = deque(kept)

        self._attempt(runner, save)

    def _point_to(self, runner, path: Path) -> None:
        self.last_ckpt, pointer = str(path), Path(runner.work_dir) / POINTER
        write_together(lambda: write_durably(pointer, lambda stream: stream.write(str(path).encode())))

    def save_now(self, runner) -> Path:
        """Save at the end of an iteration, whatever the interval; the next checkpoint by the interval takes its place.

        Raises:
            CheckpointWriteError: it cannot be written; the previous one is still there.
        """
        path = Path(self.out_dir) / PREEMPTED
        runner.save_checkpoint(self.out_dir, path.name, by_epoch=False, backend_args=self.backend_args, **self.args)
        self._point_to(runner, path)
        return path

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        """mmengine's bookkeeping; the previous best is deleted after the new one has been written.

        Raises:
            ConfigError: ``save_best`` names a figure that the validation does not give.
        """
        if not self.save_best or not hasattr(self, 'file_backend'):  # a validation without a training saves nothing
            return
        for name in self.key_indicators:
            if name != 'auto' and name not in metrics:
                raise ConfigError(
                    f'default_hooks.checkpoint.save_best={name!r}: the validation gives no such figure. '
                    f'{did_you_mean(name, metrics)}'
                )
        self._attempt(runner, lambda: super(DurableCheckpointHook, self)._save_best_checkpoint(runner, metrics))

    def _attempt(self, runner, save: Callable[[], None]) -> None:
        """Run ``save``, then delete what it replaces; when it cannot write, everything stays as it was."""
        remembered = ('last_ckpt', 'keep_ckpt_ids', 'best_ckpt_path', 'best_ckpt_path_dict')
        before = {name: _copy(getattr(self, name)) for name in remembered if hasattr(self, name)}
        info = dict(runner.message_hub.runtime_info)
        try:
            save()
        except CheckpointWriteError as error:
            vars(self).update(before)
            runner.message_hub.runtime_info.clear()
            runner.message_hub.runtime_info.update(info)
            self.file_backend.noted.clear()
            if self.on_write_error == 'stop':
                raise
            full = ' THE DISK IS FULL.' if error.errno == errno.ENOSPC else ''
            previous = self.last_ckpt or getattr(runner, 'resumed_from', None)
            kept = f'The previous one, {previous}, is kept' if previous else 'There is no earlier one of this run'
            runner.logger.error(
                f'No checkpoint was written: {error}.{full} {kept}; the training goes on and is lost from there '
                'if nobody makes room.'
            )
            return
        if get_rank() == 0:
            self.file_backend.remove_noted(keep=self._current())

    def _current(self) -> set[Path]:
        """Files that the run points to."""
        best = [getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values()]
        return {Path(path) for path in [self.last_ckpt, *best] if path}

    def _publish_model(self, runner, ckpt_path: str) -> None:
        """Write the ``published_keys`` of a checkpoint to a file with the start of its SHA-256 in the name."""
        if get_rank() == 0:
            content = BytesIO()
            published = {key: value for key, value in load_file(ckpt_path).items() if key in self.published_keys}
            torch.save(compact(published), content)
            digest = hashlib.sha256(content.getbuffer()).hexdigest()
            path = Path(ckpt_path).with_name(f'{Path(ckpt_path).stem}-{digest[:8]}.pth')
            write_durably(path, lambda stream: stream.write(content.getbuffer()))
            runner.logger.info(f'Published {ckpt_path} as {path}')


def _moved(paths: str | dict | None, folder: Path) -> str | dict | None:
    """Paths that a checkpoint remembers, in the folder to which its run was copied or renamed since."""
    if isinstance(paths, dict):
        return {key: _moved(path, folder) for key, path in paths.items()}
    here = folder / Path(paths).name if paths else None
    return str(here) if here is not None and here.is_file() else paths


def write_together(write: Callable[[], None]) -> None:
    """Let the main process write; all processes learn whether it could.

    Raises:
        CheckpointWriteError: on all processes, with the main process's error.
    """
    failure = [None]
    if get_rank() == 0:
        try:
            write()
        except OSError as error:
            failure = [(error.errno or 0, error.strerror or str(error))]
    broadcast_object_list(failure)
    if failure[0]:
        raise CheckpointWriteError(*failure[0])


def _copy(value):
    return value.copy() if isinstance(value, deque | dict) else value


def resumable_files(work_dir: str | Path) -> Iterator[Path]:
    """Checkpoints to try on resume: what the pointer names, then the others of the folder, from the newest to the oldest.

    The pointer may name a folder that has been moved: the file of the same name in ``work_dir`` counts too. Files with a higher
    number than the pointer's come last, they may belong to an earlier run.
    """
    work_dir = Path(work_dir)
    pointed = _pointed(work_dir)
    numbered = {path: (match[1], int(match[2])) for path in work_dir.glob('*.pth') if (match := NUMBERED.fullmatch(path.name))}
    limit = numbered.get(work_dir / pointed.name) if pointed else None

    def rank(path: Path) -> tuple:
        kind, number = numbered[path]
        if limit is None:
            return True, path.stat().st_mtime_ns, number
        return kind == limit[0] and number <= limit[1], kind == limit[0], number

    # a copy of a work dir goes on from its own files, not from those of the original, which its pointer names
    named = [work_dir / pointed.name, pointed] if pointed else []
    yield from dict.fromkeys([path for path in named if path.is_file()] + sorted(numbered, key=rank, reverse=True))


def _pointed(work_dir: Path) -> Path | None:
    try:
        name = (work_dir / POINTER).read_text(encoding='utf-8').strip()
    except (OSError, UnicodeDecodeError):
        return None
    return Path(name) if name.endswith('.pth') and '\0' not in name else None


def newest_whole(work_dir: str | Path, load: Callable[[Path], None], log: Callable[[str], None], since: float = 0) -> Path | None:
    """``load`` the newest checkpoint that is whole, and say which were rejected and why; ``None`` if the folder has none.

    The main process's folder counts, on all processes; ``load`` sees to it that they have its file. Files from before ``since``
    (seconds of the epoch) are left alone.

    Raises:
        DamagedCheckpointError: there are checkpoints, and all are damaged.
    """
    work_dir, rejected = Path(work_dir), []
    paths = [path for path in resumable_files(work_dir) if path.stat().st_mtime >= since]
    names = [[str(path.relative_to(work_dir) if path.is_relative_to(work_dir) else path) for path in paths]]
    unseen = bool(names[0])
    broadcast_object_list(names)
    if any(all_gather_object(unseen and not names[0])):
        log(f'{work_dir}: the main process sees no checkpoint here; those that another process sees are left alone.')
    for name in names[0]:
        path = work_dir / name
        try:
            load(path)
        except DamagedCheckpointError as error:
            rejected.append(str(error))
            log(f'Rejected: {error}')
            continue
        return path
    if rejected:
        raise DamagedCheckpointError(f'{work_dir}: no checkpoint is whole: {" ".join(rejected)}')
    return None
