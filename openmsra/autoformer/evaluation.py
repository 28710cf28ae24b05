"""Validation and test of named sub-networks, one after the other, with inherited weights.

The official code validates one random draw an epoch, so its curve is noise of the draw (a fixed set shows training).
"""

from pathlib import Path

from mmengine.evaluator import DumpResults
from mmengine.runner import TestLoop, ValLoop

from openmsra.autoformer.space import SearchSpace, arch_rng
from openmsra.common.annotations import read_json
from openmsra.engine.wrappers import unwrapped
from openmsra.registry import LOOPS

NAMED = ('smallest', 'middle', 'largest')


def resolve_subnets(space: SearchSpace, wanted: list) -> dict[str, dict]:
    """Names and architectures of the sub-networks that a config asks for.

    Args:
        space: the search space of the supernet.
        wanted: each entry 'smallest', 'middle', 'largest', 'random:N' (N draws, always the same), the path of a JSON
            file with one architecture, an architecture itself, or ``dict(name=..., arch=architecture)``.

    Raises:
        ValueError: another word, or an architecture that does not fit the space.
        FileNotFoundError: no such architecture file.
    """
    subnets: dict[str, dict] = {}
    for entry in wanted:
        subnets |= _resolve(space, entry)
    return subnets


def _resolve(space: SearchSpace, entry: str | dict) -> dict[str, dict]:
    if isinstance(entry, dict):
        arch = dict(entry.get('arch', entry))
        space.validate(arch)
        return {entry.get('name', f'd{arch["depth"]}_e{arch["embed_dim"]}'): arch}
    if entry in NAMED:
        return {entry: getattr(space, entry)()}
    if entry.startswith('random:') and entry[7:].isdigit():
        return {f'random_{i:03d}': space.sample(arch_rng(0, i)) for i in range(int(entry[7:]))}
    if not entry.endswith('.json'):
        raise ValueError(f"subnets: {entry!r} is none of {', '.join(NAMED)}, 'random:N' or the path of a .json file.")
    arch = read_json(entry, dict(embed_dim=int, depth=int, num_heads=list, mlp_ratio=list))
    space.validate(arch)
    return {Path(entry).stem: arch}


class _SubnetLoop:
    """Runs the parent loop's pass over the data for every sub-network; metrics get the name as prefix."""

    stage: str

    def __init__(self, runner, dataloader, evaluator, subnets: list, fp16: bool = False) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        self.supernet = unwrapped(runner.model)
        self.subnets = resolve_subnets(self.supernet.space, subnets)
        self.dumps = {metric: Path(metric.out_file_path) for metric in self.evaluator.metrics if isinstance(metric, DumpResults)}

    def run(self) -> dict:
        """Evaluate all sub-networks; the one set before is set again afterwards."""
        self.runner.call_hook(f'before_{self.stage}')
        self.runner.call_hook(f'before_{self.stage}_epoch')
        self.runner.model.eval()
        before, metrics = self.supernet.get_subnet(), {}
        for name, arch in self.subnets.items():
            self.supernet.set_subnet(arch)
            self._name_prediction_files(name)
            for index, data_batch in enumerate(self.dataloader):
                self.run_iter(index, data_batch)
            result = self.evaluator.evaluate(len(self.dataloader.dataset))
            metrics |= {f'{name}/{key}': value for key, value in result.items()}
            metrics[f'{name}/params'] = float(self.supernet.count_params(arch))  # mmengine logs an int as null
        self.supernet.set_subnet(before)
        self.runner.call_hook(f'after_{self.stage}_epoch', metrics=metrics)
        self.runner.call_hook(f'after_{self.stage}')
        return metrics

    def _name_prediction_files(self, name: str) -> None:
        """Several sub-networks write several files: predictions.pkl becomes predictions.largest.pkl and so on."""
        if len(self.subnets) > 1:
            for metric, path in self.dumps.items():
                metric.out_file_path = str(path.with_suffix(f'.{name}{path.suffix}'))


@LOOPS.register_module()
class SubnetValLoop(_SubnetLoop, ValLoop):
    """Validation of several sub-networks; see :func:`resolve_subnets` for what ``subnets`` may name."""

    stage = 'val'


@LOOPS.register_module()
class SubnetTestLoop(_SubnetLoop, TestLoop):
    """Test of several sub-networks; pictures of ``--show-dir`` show the predictions of the last one."""

    stage = 'test'
