"""What only a GPU can show, in one command of less than eight minutes:  python benchmarks/gpu_check.py

instant   every instant config trains with fixed algorithms, resumes in the middle to the same bits, is tested on the GPU and on
          the CPU, and trains with mixed precision
outputs   loss and gradient of every instant model on the GPU against the CPU, in float32 with and without TF32
memory    peak memory and time of a training step of every published recipe: its batch, its pipeline, generated pictures (on
          a large card several papers at a time; a step that is timed has the card alone); on a CPU the bytes that autograd keeps,
          with bfloat16 for float16
speed     the rows of benchmarks/*_speed.py

Results go to a JSON file with the name of the card after each step; what fails is noted there and the next step goes on. The data
are generated. Without mmcv's compiled operators Soft Teacher is left out. With --device cpu --quick it tests itself.
"""

import argparse
import fcntl
import gc
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
PAPERS = ('autoformer', 'ckdn', 'ftcn', 'maskco', 'mcn', 'soft_teacher')
STAGES = ('instant', 'outputs', 'memory', 'speed')
LARGEST_STEP = 28  # GiB at most of a step: MCN's Kinetics recipe has 27
TIMED_STEPS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cuda', choices=['cuda', 'cpu'])
    parser.add_argument('--quick', action='store_true', help='few steps, one recipe of each paper: a test of this program')
    parser.add_argument('--stages', nargs='+', default=STAGES, choices=STAGES)
    parser.add_argument('--papers', nargs='+', default=PAPERS, choices=PAPERS)
    parser.add_argument('--recipes', default='', help='memory of recipes whose name contains this')
    parser.add_argument('--budget-seconds', type=float, default=470, help='when this is used up, what is left is skipped')
    parser.add_argument('--jobs', type=int, default=min(6, os.cpu_count() or 1), help='trainings at the same time')
    parser.add_argument('--repeats', type=int, default=5, help='of each timing')
    parser.add_argument('--out', type=Path, help='JSON file (default: benchmarks/results/gpu_check_CARD.json)')
    parser.add_argument('--part', nargs=2, metavar=('STAGE', 'PAPER'), help=argparse.SUPPRESS)  # in a process of its own
    args = parser.parse_args()
    if args.part:
        stage, paper = args.part
        {'outputs': outputs, 'memory': memory}[stage](paper, args)
        return
    check = Check(args)
    for stage in args.stages:
        getattr(check, stage)()
        check.save()
    check.say(f'wrote {check.out}')


class Check:
    """The stages, what they have found, and the clock."""

    def __init__(self, args: argparse.Namespace) -> None:
        import torch

        self.args, self.start = args, time.monotonic()
        card = torch.cuda.get_device_name() if args.device == 'cuda' else 'CPU'
        slug = re.sub(r'\W+', '-', card).strip('-').lower()
        self.out = args.out or ROOT / f'benchmarks/results/gpu_check_{slug}.json'
        self.papers = list(args.papers)
        self.result: dict = dict(
            card=card,
            torch=torch.__version__,
            cuda=torch.version.cuda,
            cudnn=torch.backends.cudnn.version() if args.device == 'cuda' else None,
            python=platform.python_version(),
            revision=_revision(),
            quick=args.quick,
        )
        from openmsra.needs import has_operators

        if 'soft_teacher' in self.papers and not has_operators():
            self.papers.remove('soft_teacher')
            self.result['left_out'] = 'soft_teacher: mmcv has no compiled operators here'
            self.say(self.result['left_out'])
        self.say(f'{card}, torch {torch.__version__}, {len(self.papers)} papers, stages {" ".join(args.stages)}')

    @property
    def left(self) -> float:
        return self.args.budget_seconds - (time.monotonic() - self.start)

    def say(self, text: str) -> None:
        print(f'[{time.monotonic() - self.start:5.0f}s] {text}', flush=True)

    def save(self) -> None:
        self.result['seconds'] = round(time.monotonic() - self.start, 1)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.result, indent=1).replace(f'{ROOT}/', '')  # the file says nothing of the machine's folders
        self.out.write_text(text + '\n', encoding='utf-8')

    def instant(self) -> None:
        rows = self.result['instant'] = {}
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(self.args.jobs) as pool:

            def chain(paper: str) -> None:
                rows[paper] = {}
                try:
                    self._instant(paper, Path(folder) / paper, rows[paper])
                except Exception as error:  # noqa: BLE001 - noted, the next goes on
                    rows[paper]['failed'] = f'{type(error).__name__}: {error}'
                facts = ', '.join(f'{key} {value}' for key, value in rows[paper].items() if not isinstance(value, dict))
                self.say(f'instant {paper}: {facts}'[:600])
                self.save()

            list(pool.map(chain, self.papers))

    def _instant(self, paper: str, folder: Path, row: dict) -> None:
        config = str(next(ROOT.glob(f'configs/{paper}/*_instant.py')).relative_to(ROOT))
        few = ['--cfg-options', *_schedule(config, self.args.quick)]
        row['config'] = config
        whole = self._tool('tools/train.py', config, '--work-dir', folder / 'whole', '--deterministic', *few)
        row['deterministic'] = _verdict(whole)
        env = {}
        if whole.returncode and 'CUBLAS_WORKSPACE_CONFIG' in whole.stderr + whole.stdout:
            env = dict(CUBLAS_WORKSPACE_CONFIG=':4096:8')
            whole = self._tool('tools/train.py', config, '--work-dir', folder / 'whole', '--deterministic', *few, **env)
            row['deterministic_with_cublas_setting'] = _verdict(whole)
        if whole.returncode:
            whole = self._tool('tools/train.py', config, '--work-dir', folder / 'whole', *few)
            row['fp32'] = _verdict(whole)
        checkpoints = sorted((folder / 'whole').glob('*_[0-9]*.pth'), key=lambda file: int(file.stem.rpartition('_')[2]))
        with ThreadPoolExecutor(4) as pool:
            amp = {dtype: pool.submit(self._amp, config, dtype, folder, few) for dtype in self._amp_types()}
            devices = ('cuda', 'cpu')[self.args.device == 'cpu' :] if checkpoints else ()
            scores = {device: pool.submit(self._test, config, checkpoints[-1], device, folder) for device in devices}
            if len(checkpoints) > 1:
                row |= self._resume(config, *checkpoints[-2:], folder, few, env)
            row['scores'] = {device: score.result() for device, score in scores.items()}
            row |= {dtype: verdict.result() for dtype, verdict in amp.items()}

    def _resume(self, config: str, middle: Path, last: Path, folder: Path, few: list[str], env: dict[str, str]) -> dict[str, str]:
        train = ('tools/train.py', config, '--deterministic', *few)
        resumed = self._tool(*train, '--work-dir', folder / 'resumed', '--resume', middle, **env)
        if resumed.returncode:
            return dict(resume=_verdict(resumed))
        found = dict(resume=_same_weights(last, folder / 'resumed' / last.name))
        if found['resume'] != 'equal to the bit':  # is it the resume, or does a run not repeat itself?
            self._tool(*train, '--work-dir', folder / 'again', **env)
            found['repeated'] = _same_weights(last, folder / 'again' / last.name)
        return found

    def _test(self, config: str, checkpoint: Path, device: str, folder: Path) -> dict | str:
        where, hidden = folder / f'test_{device}', dict(CUDA_VISIBLE_DEVICES='') if device == 'cpu' else {}
        tested = self._tool('tools/test.py', config, checkpoint, '--work-dir', where, **hidden)
        return _verdict(tested) if tested.returncode else _scores(where)

    def _amp_types(self) -> tuple[str, ...]:
        return ('float16', 'bfloat16')[self.args.device == 'cpu' :]

    def _amp(self, config: str, dtype: str, folder: Path, few: list[str]) -> str:
        return _verdict(self._tool('tools/train.py', config, '--work-dir', folder / dtype, '--amp-dtype', dtype, *few))

    def outputs(self) -> None:
        self._by_paper('outputs', self.args.jobs)

    def memory(self) -> None:
        """As many papers at a time as the card holds steps of the largest recipe."""
        import torch

        gib = torch.cuda.get_device_properties(0).total_memory / 2**30 if self.args.device == 'cuda' else 0
        self._by_paper('memory', max(1, min(self.args.jobs, int(gib / LARGEST_STEP))))

    def _by_paper(self, stage: str, jobs: int) -> None:
        rows = self.result[stage] = {}

        def part(paper: str) -> None:
            file = Path(folder) / f'{paper}.json'
            extra = [*(['--quick'] if self.args.quick else []), '--recipes', self.args.recipes]
            command = ['benchmarks/gpu_check.py', '--part', stage, paper, '--device', self.args.device, '--out', file, *extra]
            reserve = self.args.budget_seconds / 4 if stage == 'memory' and 'speed' in self.args.stages else 5
            done = self._tool(*command, '--budget-seconds', f'{max(self.left - reserve, 5):.0f}')
            rows[paper] = json.loads(file.read_text()) if file.is_file() else {}
            if done.returncode:
                rows[paper]['failed'] = _verdict(done)
            self.say(f'{stage} {paper}: {len(rows[paper])} rows')
            self.save()

        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
            list(pool.map(part, reversed(self.papers)))  # the last of the alphabet have the longest steps

    def speed(self) -> None:
        rows = self.result['speed'] = {}
        repeats = 1 if self.args.quick else self.args.repeats
        for number, paper in enumerate(self.papers):
            if self.args.quick and number:
                break
            share = max(self.left, 0) / (len(self.papers) - number) * 1.8
            code = (
                'import json, sys, torch; sys.path.insert(0, "."); torch.set_num_threads(1)\n'
                f'from benchmarks import {paper}_speed\n'
                f'print("ROWS" + json.dumps({paper}_speed.run({repeats}, torch.device("{self.args.device}"))))'
            )
            done = self._run([sys.executable, '-c', code], min(share, self.left))
            lines = [line for line in done.stdout.splitlines() if line.startswith('ROWS')]
            rows[paper] = json.loads(lines[-1][4:]) if lines else dict(failed=_verdict(done))
            self.say(f'speed {paper}: {_ratios(rows[paper])}')
            self.save()

    def _tool(self, *arguments: str | Path, **env: str) -> subprocess.CompletedProcess:
        return self._run([sys.executable, *map(str, arguments)], self.left, **env)

    def _run(self, command: list[str], seconds: float, **env: str) -> subprocess.CompletedProcess:
        if seconds <= 1:
            return subprocess.CompletedProcess(command, 124, '', 'skipped: the time is used up')
        from benchmarks.training import tool_environment

        environment = {**tool_environment(), 'PYTHONWARNINGS': 'ignore', **env}
        if self.args.device == 'cpu':
            environment['CUDA_VISIBLE_DEVICES'] = ''
        try:
            return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            said = [stream.decode() if isinstance(stream, bytes) else stream or '' for stream in (error.stdout, error.stderr)]
            return subprocess.CompletedProcess(command, 124, said[0], f'{said[1]}\ntimed out after {seconds:.0f} s')


def outputs(paper: str, args: argparse.Namespace) -> None:
    """Loss and gradient norm of the instant model on the device and on the CPU, same weights and batch."""
    import torch
    from mmengine.registry import DefaultScope

    from benchmarks.recipes import batch_of, gradient_step
    from openmsra.engine.config.files import load_config
    from openmsra.engine.runner import OpenMSRARunner

    cfg = load_config(next(ROOT.glob(f'configs/{paper}/*_instant.py')))
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        cfg.work_dir, cfg.log_level = folder, 'ERROR'
        runner = OpenMSRARunner.from_cfg(cfg)
        with DefaultScope.overwrite_default_scope('openmsra'):
            loop = _start(runner)
        runner._init_model_weights()
        data = batch_of(loop.dataloader, cfg.train_dataloader.batch_size)
        for name, device, tf32 in (('cpu', 'cpu', False), ('float32', args.device, False), ('tf32', args.device, True)):
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
            try:
                torch.manual_seed(0)
                model = _moved(runner.model, device)
                rows[name] = gradient_step(model, _copied(data))
            except Exception as error:  # noqa: BLE001 - noted, the next goes on
                rows[name] = dict(failed=_reason(error))
    for name in ('float32', 'tf32'):
        if 'loss' in rows[name] and 'loss' in rows['cpu']:
            rows[name]['apart'] = {key: abs(rows[name][key] / rows['cpu'][key] - 1) for key in ('loss', 'gradient_norm')}
    args.out.write_text(json.dumps(rows))


def memory(paper: str, args: argparse.Namespace) -> None:
    """Peak memory of two training steps of each recipe of a paper; recipes that share network and batch are measured once."""
    import torch

    from benchmarks.recipes import published
    from openmsra.engine.config.files import load_config
    from tests import trees

    start, rows, seen = time.monotonic(), {}, {}
    with tempfile.TemporaryDirectory() as folder:
        trees.plant(Path(folder), _trees_of(paper))
        _let_cifar_pass()
        os.chdir(folder)
        for path in [path for path in published(paper) if args.recipes in path.stem][: 1 if args.quick else None]:
            cfg = load_config(path)
            if 'optim_wrapper' not in cfg or cfg.train_cfg.get('type') == 'EvolutionLoop':
                continue
            key = json.dumps([cfg.model, cfg.train_dataloader.batch_size, cfg.optim_wrapper], default=str, sort_keys=True)
            if key in seen:
                rows[path.stem] = dict(same_as=seen[key])
                continue
            seen[key] = path.stem
            if time.monotonic() - start > args.budget_seconds:
                rows[path.stem] = dict(failed='skipped: the time is used up')
                continue
            try:
                rows[path.stem] = _measured_step(*_ready(cfg, args, Path(folder) / 'work'), args)
            except torch.cuda.OutOfMemoryError as error:
                rows[path.stem] = dict(failed=f'out of memory: {_reason(error)}', batch=cfg.train_dataloader.batch_size)
            except Exception as error:  # noqa: BLE001 - noted, the next goes on
                rows[path.stem] = dict(failed=_reason(error), trace=traceback.format_exc()[-1500:])
            _leave_card(args.device)
            print(path.stem, rows[path.stem], flush=True)
            args.out.write_text(json.dumps(rows))
        os.chdir(ROOT)
    args.out.write_text(json.dumps(rows))


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time between here and the end."""
    with lock.open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _leave_card(device: str) -> None:
    """Give the card back what the last step held."""
    import torch

    gc.collect()
    if device == 'cuda':
        torch.cuda.synchronize()
        torch.cuda.empty_cache()


def _ready(cfg, args: argparse.Namespace, work_dir: Path) -> tuple:
    """A runner before its first step, the largest architecture chosen, and a batch."""
    from mmengine.registry import DefaultScope

    from benchmarks.recipes import batch_of, fix_largest, shrink_batch, use_bfloat16, without_weights
    from openmsra.engine.runner import OpenMSRARunner

    cfg.work_dir, cfg.log_level, cfg.model = str(work_dir), 'ERROR', without_weights(cfg.model)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False, pin_memory=False, drop_last=False)
    if args.quick:
        shrink_batch(cfg, 2)
    if args.device == 'cpu':
        use_bfloat16(cfg)
    runner = OpenMSRARunner.from_cfg(cfg)
    with DefaultScope.overwrite_default_scope('openmsra'):
        data = batch_of(_start(runner, last_epoch=True).dataloader, cfg.train_dataloader.batch_size)
        fix_largest(runner.model)
    return runner, data


def _measured_step(runner, data, args: argparse.Namespace) -> dict:
    import torch
    from mmengine.registry import DefaultScope

    from benchmarks.memory import LiveBytes

    with DefaultScope.overwrite_default_scope('openmsra'):
        wrapper = runner.optim_wrapper
        wrapper.initialize_count_status(runner.model, 0, 10)
        runner.model.train()
        if args.device == 'cuda':
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        seconds, counted = [], LiveBytes()
        for tensor in (*runner.model.parameters(), *runner.model.buffers()):
            counted.count(tensor)

        def step(number: int) -> dict:
            runner.call_hook('before_train_iter', batch_idx=number, data_batch=data)
            batch = _copied(data)
            begun = time.perf_counter()
            with counted if args.device == 'cpu' else nullcontext():
                losses = runner.model.train_step(batch, wrapper)
            if args.device == 'cuda':
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - begun)
            return losses

        losses = step(0)
        if args.device == 'cuda':  # the first one loads kernels and lets cuDNN choose, beside other papers
            with _alone(args.out.with_name('card')):
                for number in range(1, TIMED_STEPS + 1):
                    losses = step(number)
    batch = runner.cfg.train_dataloader.batch_size
    row = dict(batch=batch, step_seconds=min(seconds), losses={key: float(value) for key, value in losses.items()})
    if args.device == 'cpu':
        row['counted_gib'] = counted.peak / 2**30
    else:
        row |= dict(
            peak_gib=torch.cuda.max_memory_allocated() / 2**30,
            reserved_gib=torch.cuda.max_memory_reserved() / 2**30,
            model_gib=before / 2**30,
        )
    return row


def _start(runner, last_epoch: bool = False):
    """The training loop, with loop, optimiser and hooks as they are before the first step (of the last epoch)."""
    loop = runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    if last_epoch and hasattr(loop, '_epoch') and runner.cfg.train_cfg.get('by_epoch'):
        loop._epoch = loop.max_epochs - 1  # what begins late has begun
    for point in ('before_run', 'before_train', 'before_train_epoch'):
        runner.call_hook(point)
    return loop


def _trees_of(paper: str) -> set[str]:
    return {
        'autoformer': {'imagenet', 'cifar10', 'cifar100', 'stanford_cars', 'flowers102', 'oxford_pets'},
        'ckdn': {'PIPAL', 'kadid10k', 'tid2013', 'live', 'csiq', 'bsds500', 'sr4kiqa'},
        'ftcn': {'ffpp', 'celebdf', 'dfdc', 'faces'},
        'maskco': {'imagenet', 'coco', 'cc3m', 'camvid', 'cifar10'},
        'mcn': {'ucf101', 'hmdb51', 'kinetics400', 'fir_actions'},
        'soft_teacher': {'coco', 'bccd', 'deeppcb'},
    }[paper]


def _let_cifar_pass() -> None:
    """The generated archives cannot have the checksums of the real ones."""
    from openmsra import compat

    compat.bridge_torchvision()
    import mmpretrain.datasets.cifar as cifar

    cifar.check_md5 = lambda *_: True


def _copied(data):
    import copy

    return copy.deepcopy(data)


def _moved(model, device: str):
    """A copy of a model on a device."""
    import copy

    return copy.deepcopy(model).to(device)


def _schedule(config: str, quick: bool) -> list[str]:
    """Options that leave a checkpoint in the middle of a training, which has few steps if ``quick``."""
    from openmsra.engine.config.files import load_config

    train, keep = load_config(ROOT / config).train_cfg, ['default_hooks.checkpoint.max_keep_ckpts=-1']
    if train.get('by_epoch', True):  # one is saved after each epoch
        return [*keep, 'train_cfg.max_epochs=2', 'train_dataloader.num_batch_per_epoch=2'] if quick else keep
    steps = 4 if quick else train.max_iters
    return [*keep, f'train_cfg.max_iters={steps}', f'default_hooks.checkpoint.interval={max(steps // 2, 1)}']


def _verdict(done: subprocess.CompletedProcess) -> str:
    if not done.returncode:
        return 'ok'
    lines = [line for line in (done.stderr or done.stdout).strip().splitlines() if line.strip()]
    return f'exit code {done.returncode}: {" | ".join(lines[-3:])[-600:]}'


def _reason(error: Exception) -> str:
    return f'{type(error).__name__}: {str(error)[:400]}'


def _same_weights(one: Path, other: Path) -> str:
    """'equal to the bit', or how many tensors differ and by how much."""
    import torch

    states = [torch.load(file, map_location='cpu', weights_only=False)['state_dict'] for file in (one, other)]
    if set(states[0]) != set(states[1]):
        return 'other names'
    apart = [
        float((states[0][key].double() - states[1][key].double()).abs().max()) for key in states[0] if states[0][key].numel()
    ]
    differing = sum(value > 0 for value in apart)
    return 'equal to the bit' if not differing else f'{differing} of {len(apart)} tensors differ, by up to {max(apart):.3g}'


def _scores(folder: Path) -> dict:
    file = max(folder.glob('*/*.json'), key=lambda path: path.stat().st_mtime)
    return {key: value for key, value in json.loads(file.read_text().splitlines()[-1]).items() if 'time' not in key}


def _ratios(rows: dict) -> str:
    if 'failed' in rows:
        return rows['failed']
    return ', '.join(f'{name} {row["ratio"]:.3g}' for name, row in rows.items() if isinstance(row, dict) and 'ratio' in row)


def _revision() -> str | None:
    done = subprocess.run(['git', 'rev-parse', 'HEAD'], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or None


if __name__ == '__main__':
    main()
