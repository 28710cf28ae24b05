"""What a user wants to know when a training has ended: where everything is, what it has reached, what comes next."""

import json
import mimetypes
from pathlib import Path

from mmengine.runner import Runner

from openmsra import __version__
from openmsra.engine.checkpoint.files import write_durably
from openmsra.engine.runs import read_run
from openmsra.errors import MissingFileError

RESULTS = 'results.json'  # beside the log


def report_results(runner: Runner, seconds: float) -> None:
    """Write ``results.json`` beside the log and say what there is; called on the main process of a training that has ended."""
    work_dir, log_dir = Path(runner.work_dir), Path(runner.log_dir)
    pointer = work_dir / 'last_checkpoint'
    if not pointer.is_file():  # a search, say, has no checkpoints
        return
    checkpoint = pointer.read_text(encoding='utf-8').strip()
    best = next((path for hook in runner.hooks if (path := getattr(hook, 'best_ckpt_path', None))), None)
    figures = _last_figures(log_dir)
    results = dict(
        config=runner.cfg.filename,
        checkpoint=checkpoint,
        best_checkpoint=best,
        epoch=runner.epoch,
        iter=runner.iter,
        seconds=round(seconds, 1),
        seed=runner.seed,
        metrics=figures,
        openmsra=__version__,
    )
    content = (json.dumps(results, indent=1) + '\n').encode()
    write_durably(log_dir / RESULTS, lambda stream: stream.write(content))
    runner.logger.info('\n'.join(_lines(runner, checkpoint, best, figures, seconds)))


def _last_figures(log_dir: Path) -> dict[str, float]:
    try:
        return read_run(log_dir).last()
    except MissingFileError:
        return {}


def _lines(runner: Runner, checkpoint: str, best: str | None, figures: dict[str, float], seconds: float) -> list[str]:
    work_dir, log_dir = Path(runner.work_dir), Path(runner.log_dir)
    pictures = [path for path in log_dir.rglob('*') if (mimetypes.guess_type(path)[0] or '').startswith('image/')]
    config = work_dir / Path(runner.cfg.filename).name if runner.cfg.filename else None
    use = best or checkpoint
    lines = [f'Done after {_duration(seconds)}, iteration {runner.iter}.', f'  checkpoint   {checkpoint}']
    lines += [f'  best         {best}'] if best else []
    lines += [f'  {key:<12} {value:.5g}' for key, value in list(figures.items())[:8] if isinstance(value, int | float)]
    lines += [f'  results      {log_dir / RESULTS}', f'  curves       tensorboard --logdir {work_dir}']
    lines += [f'  pictures     {len(pictures)} below {log_dir}'] if pictures else []
    lines.append('Next:')
    if config is not None and runner.cfg.get('test_dataloader') is not None:
        lines.append(f'  openmsra test {config} {use}')
    if 'inferencer' in runner.cfg and (paper := _package(runner.cfg)):
        lines.append(f'  openmsra infer {paper} YOUR_FILES --weights {use}')
    return lines if lines[-1] != 'Next:' else lines[:-1]


def _package(cfg) -> str | None:
    """The package that the config imports, which is what ``openmsra infer`` is told."""
    imports = cfg.get('custom_imports', {}).get('imports', [])
    return next((name.split('.')[1] for name in imports if name.startswith('openmsra.') and name.count('.') == 1), None)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes} min' if hours else f'{minutes} min {rest} s' if minutes else f'{rest} s'
