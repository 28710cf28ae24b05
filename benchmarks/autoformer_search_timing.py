"""A real evolution search, timed: wall time per candidate against bare forward passes, and one process against two.

Started by ``benchmarks/speed.py autoformer``; every process runs one thread. The bare passes run the same
sub-networks over the same images, generation by generation between those of the search.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs/autoformer/autoformer_search_1xb500-8gen_digits_mini.py'
# large enough that the network, and not Python, takes the time, as on ImageNet
OPTIONS = {
    'model.space.embed_dim': [48, 64, 80],
    'model.space.depth': [4, 5, 6],
    'model.space.num_heads': [4, 5, 6],
    'model.patch_size': 1,
    'train_cfg.type': 'TimedEvolutionLoop',
    'train_cfg.budgets': dict(params=(100_000, 300_000)),
    'train_cfg.evolution': dict(generations=2, population=16, parents=4, mutations=8, crossovers=8),
    'train_cfg.allow_random_weights': True,
}


def measure(repeats: int) -> dict[str, dict[str, float]]:
    """Ratios of time: a candidate against a bare pass, two processes against one; the best of ``repeats`` and the range."""
    single, double = [], []
    for _ in range(repeats):
        single.append(_launch(1))
        double.append(_launch(2))
    overhead = [run['seconds'] / run['bare'] for run in single]
    faster = [one['seconds'] / two['seconds'] for one, two in zip(single, double, strict=True)]
    best = min(run['seconds'] for run in single) / min(run['seconds'] for run in double)
    return {
        'search_candidate': dict(ratio=median(overhead), lowest=min(overhead), highest=max(overhead), target=1.05),
        'search_two_processes': dict(ratio=best, lowest=min(faster), highest=max(faster), target=1.8),
    }


def _launch(processes: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / 'times.json'
        command = [
            sys.executable,
            '-m',
            'torch.distributed.run',
            '--standalone',
            f'--nproc-per-node={processes}',
            '-m',
            'benchmarks.autoformer_search_timing',
            folder,
            str(out),
            str(processes),
        ]
        subprocess.run(command, cwd=ROOT, env={**os.environ, 'OMP_NUM_THREADS': '1'}, check=True, capture_output=True)
        return json.loads(out.read_text())


def main(work_dir: str, out: str, processes: str) -> None:
    """One search in this process (of ``processes``); rank 0 writes its seconds and, alone, those of the bare passes."""
    from openmsra.autoformer import EvolutionLoop
    from openmsra.engine.config.files import load_config
    from openmsra.engine.launch import build_runner
    from openmsra.registry import LOOPS

    torch.set_num_threads(1)

    @LOOPS.register_module()
    class TimedEvolutionLoop(EvolutionLoop):
        search = passes = 0.0  # seconds: of the search alone, of the bare passes

        def _search(self, evolution, settings):
            start = time.perf_counter()
            super()._search(evolution, settings)
            TimedEvolutionLoop.search = time.perf_counter() - start - self.passes

        def _score(self, pending, *others):
            scores = super()._score(pending, *others)
            if self.world_size == 1:
                self._pass_barely(pending)
            return scores

        @torch.inference_mode()
        def _pass_barely(self, pending):
            start = time.perf_counter()
            for arch in pending:
                self.supernet.set_subnet(arch)
                for inputs, _ in self.images:
                    self.supernet(inputs)
            TimedEvolutionLoop.passes += time.perf_counter() - start

    cfg = load_config(CONFIG, OPTIONS)
    cfg.work_dir, cfg.launcher = work_dir, 'none' if processes == '1' else 'pytorch'
    runner = build_runner(cfg)
    runner.train()
    if runner.rank == 0:
        Path(out).write_text(json.dumps(dict(seconds=TimedEvolutionLoop.search, bare=TimedEvolutionLoop.passes)))


if __name__ == '__main__':
    main(*sys.argv[1:])
