"""The search as a loop of the Runner: ``train_cfg = dict(type='EvolutionLoop', ...)`` (AutoFormer sec. 3.4)."""

import json
import zlib
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

import torch
from mmengine import dist
from mmengine.registry import DATASETS
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from openmsra.autoformer.search.budgets import Budgets, supernet_costs
from openmsra.autoformer.search.evolution import Evolution, EvolutionSettings
from openmsra.autoformer.search.journal import ScoreJournal, write_json
from openmsra.autoformer.search.latency import LatencySettings, LatencyTable, cached_latency
from openmsra.autoformer.search.report import recipe_of, write_configs, write_report
from openmsra.autoformer.search.scoring import ScoringSet, inherited_accuracy
from openmsra.autoformer.supernet import extract_subnet
from openmsra.common.annotations import read_json
from openmsra.engine.wrappers import unwrapped
from openmsra.errors import ConfigError
from openmsra.registry import LOOPS
from openmsra.suggest import did_you_mean


@LOOPS.register_module()
class EvolutionLoop(BaseLoop):
    """Searches the sub-networks of a trained supernet for the most accurate ones within budgets.

    ``train_dataloader`` is the split that candidates are scored on; it should be held out from the supernet's training.
    Candidates are spread over the processes (rank r scores r, r + W, ...), each is scored once, and the result does not
    depend on the number of processes. ``--resume`` goes on after a kill, in the middle of a generation. In the work
    directory appear ``search.json``, ``best.json`` (an architecture file), ``pareto.png`` and three configs.

    Args:
        runner: the runner.
        dataloader: the scoring split.
        budgets: name -> (low, high), inclusive, ``None`` for an open end: 'params', 'flops' (multiply-accumulates),
            'latency' (ms for a batch). Any combination; empty for no limit.
        evolution: arguments of :class:`EvolutionSettings`.
        latency: arguments of :class:`LatencySettings`; a table is measured when this or a budget on latency is given.
        checkpoint: of the supernet; ``load_from`` does the same, and ``--resume`` remembers either.
        allow_random_weights: search without a checkpoint (tests of speed).
        seed: of the search; default: the runner's (that of the first process, where each has its own).
        amp_dtype: 'float16' or 'bfloat16' for mixed precision in scoring, as in the official code; ``None`` for full precision.
        cache_gib: the most memory that each process may use to hold the scoring split ready for the network. A larger split is
            decoded once, into a file that the processes of a machine share; see :class:`ScoringSet`.
        cache_folder: where that file goes; default: the work directory. It is deleted when the search has ended.
        recipe: training config that the written configs inherit from; default: the first base of the search's config.

    Raises:
        ConfigError: an unknown setting, no checkpoint, a search without ``--resume`` where one is already on disk, or a
            resumed search whose settings differ.
        EmptyBudgetError: no candidate meets the budgets; the message gives the ranges that exist.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict,
        budgets: dict,
        evolution: dict | None = None,
        latency: dict | None = None,
        checkpoint: str | None = None,
        allow_random_weights: bool = False,
        seed: int | None = None,
        amp_dtype: str | None = None,
        cache_gib: float = 4.0,
        cache_folder: str | None = None,
        recipe: str | None = None,
    ) -> None:
        super().__init__(runner, None)
        self.dataset = DATASETS.build(dataloader['dataset'])
        self.loader_settings = {**dataloader, 'drop_last': False, 'dataset': self.dataset}
        self.dataloader = self._load(range(len(self.dataset)))
        self.supernet = unwrapped(runner.model)
        self.evolution_settings = _from_config(EvolutionSettings, evolution or {}, 'train_cfg.evolution')
        self.latency_settings = _from_config(LatencySettings, latency or {}, 'train_cfg.latency')
        self.ranges, self.with_latency = dict(budgets), latency is not None or 'latency' in budgets
        shared_seed = [runner.seed if seed is None else seed]
        dist.broadcast_object_list(shared_seed)
        self.seed = shared_seed[0]
        if amp_dtype not in (None, 'float16', 'bfloat16'):
            raise ConfigError(f"EvolutionLoop: amp_dtype={amp_dtype!r} is none of None, 'float16', 'bfloat16'.")
        self.amp_dtype, self.cache_gib = amp_dtype, cache_gib
        self.cache_folder = Path(cache_folder or runner.work_dir)
        self.recipe = recipe_of(runner.cfg, recipe)
        self.rank, self.world_size = dist.get_dist_info()
        self.folder = Path(runner.work_dir)
        self.state_file = self.folder / 'search_state.json'
        self.saved = self._saved_state()
        self.checkpoint = checkpoint or runner._load_from or (self.saved or {}).get('checkpoint')
        if self.checkpoint is None and not allow_random_weights:
            raise ConfigError(
                'EvolutionLoop: a search needs the checkpoint of a trained supernet: --cfg-options '
                'train_cfg.checkpoint=FILE. (train_cfg.allow_random_weights=True searches random weights: noise.)'
            )
        self.epoch = self.iter = 0  # the Runner asks every training loop for these
        self.max_epochs = self.max_iters = self.evolution_settings.generations

    def run(self) -> nn.Module:
        """Search, write the report and return the supernet with the best sub-network set."""
        if self.checkpoint:
            self.runner.load_checkpoint(str(self.checkpoint))
        self.supernet.eval()
        self.images = ScoringSet(
            self._load, len(self.dataset), self.supernet.data_preprocessor, self.cache_gib, self.cache_folder, self._images_key()
        )
        budgets = self._budgets()
        evolution = Evolution(self.supernet.space, budgets, self.evolution_settings, self.seed)
        settings = self._settings()
        if self.saved:
            _refuse_other_settings(self.saved['settings'], settings, self.state_file)
            evolution.load_state_dict(self.saved['evolution'])
        self.runner.logger.info(f'Scoring on {len(self.images)} images ({self.images.form}), {self.world_size} process(es)')
        self._search(evolution, settings)
        if self.rank == 0:
            write_report(evolution, settings, self.folder, self.checkpoint)
            write_configs(self.runner.cfg, self.supernet, evolution.best(1)[0].arch, self.folder, self.recipe)
        dist.barrier()
        self.images.delete_files()
        self.supernet.set_subnet(evolution.best(1)[0].arch)
        return self.runner.model

    def _search(self, evolution: Evolution, settings: dict) -> None:
        journal = ScoreJournal(self.folder / 'journal', self.rank)
        known = self._known_scores(journal)
        generations, population = self.evolution_settings.generations, self.evolution_settings.population
        total, done = generations * population, len(evolution.history)
        with tqdm(total=total, initial=done, unit='candidate', disable=self.rank != 0) as progress:
            while not evolution.finished and (pending := evolution.propose()):
                self._save(evolution, settings)
                scores = self._score(pending, evolution.generation, journal, known, progress)
                evolution.tell(scores)
                self.epoch = self.iter = evolution.generation
                progress.n = len(evolution.history)
                progress.set_postfix(best=f'{evolution.best(1)[0].score:.2f}')
                self.runner.logger.info(_summary(evolution))
        self._save(evolution, settings)
        journal.close()

    def _score(self, pending: list[dict], generation: int, journal: ScoreJournal, known: dict, progress: tqdm) -> list[float]:
        """Scores of a generation in the order of its candidates; this process scores every W-th one that is not known."""
        genomes = [self.supernet.space.genome(arch) for arch in pending]
        missing = [i for i, genome in enumerate(genomes) if genome not in known]
        # dealt out by size, so that no process waits long for another at the end of the generation
        missing.sort(key=lambda i: -self.supernet.count_flops(pending[i]))
        progress.update(len(pending) - len(missing))
        scored_here, amp_dtype = {}, getattr(torch, self.amp_dtype) if self.amp_dtype else None
        for i in missing[self.rank :: self.world_size]:
            scored_here[i] = inherited_accuracy(self.supernet, pending[i], self.images, amp_dtype)
            journal.append(generation, pending[i], scored_here[i])
            progress.update(self.world_size)
        journal.sync()
        scored = {i: score for part in dist.all_gather_object(scored_here) for i, score in part.items()}
        return [known[genome] if i not in scored else scored[i] for i, genome in enumerate(genomes)]

    def _known_scores(self, journal: ScoreJournal) -> dict:
        """Scores that earlier processes, here or on other machines, have left in their journals."""
        lines = [line for part in dist.all_gather_object(journal.read()) for line in part]
        return {self.supernet.space.genome(line['arch']): line['score'] for line in lines}

    def _saved_state(self) -> dict | None:
        journals = sorted((self.folder / 'journal').glob('*.jsonl'))
        fields = dict(settings=dict, evolution=dict)
        seen = [read_json(self.state_file, fields) if self.state_file.is_file() else None, bool(journals)]
        dist.broadcast_object_list(seen)  # what the first process sees counts
        state, has_journals = seen
        if has_journals and not state:  # their scores may belong to other weights
            raise ConfigError(
                f'{self.folder} holds journals of a search whose {self.state_file.name} is gone: delete '
                'its journal folder, or choose another --work-dir.'
            )
        if self.runner._resume is True and self.runner._load_from:
            raise ConfigError('A search resumes from its work directory: give --resume without a path.')
        if state and not self.runner._resume:
            raise ConfigError(f'{self.folder} already holds a search: add --resume, or choose another --work-dir.')
        return state

    def _save(self, evolution: Evolution, settings: dict) -> None:
        if self.rank == 0:
            state = dict(settings=settings, checkpoint=self.checkpoint, evolution=evolution.state_dict())
            write_json(self.state_file, state)

    def _budgets(self) -> Budgets:
        costs = supernet_costs(self.supernet)
        if self.with_latency:
            costs['latency'] = self._latency_table().as_cost(self.supernet.space)
        return Budgets(self.ranges, costs)

    def _latency_table(self) -> LatencyTable:
        """Measured by one process and shared, so that all of them accept the same candidates."""
        measured = [None]
        if self.rank == 0:
            net, images = self.supernet, (self.supernet.in_channels, *self.supernet.img_size)
            build = partial(extract_subnet, net)
            table = cached_latency(self.folder / 'latency.json', build, net.space, images, self.latency_settings)
            measured[0] = table.to_json()
        dist.broadcast_object_list(measured)
        table = LatencyTable.from_json(measured[0])
        self.runner.logger.info(f'Latency table: error against end-to-end times {table.check}')
        return table

    def _load(self, indices: range) -> DataLoader:
        """A loader of some images of the split, in order: candidates are divided among the processes, images are not."""
        return self.runner.build_dataloader({**self.loader_settings, 'sampler': indices})

    def _images_key(self) -> str:
        """What the images of the split depend on: the config of the data set."""
        return repr(self.runner.cfg.train_dataloader.dataset.to_dict())

    def _settings(self) -> dict:
        """What a resumed search must have in common with the one that was killed."""
        evolution = asdict(self.evolution_settings)
        return dict(
            space=self.supernet.space.to_dict(),
            budgets={name: list(ends) for name, ends in self.ranges.items()},
            evolution={name: value for name, value in evolution.items() if name != 'generations'},
            seed=self.seed,
            images=len(self.images),
            amp_dtype=self.amp_dtype,
            weights=_fingerprint(self.supernet),
        )


def _fingerprint(network: nn.Module) -> int:
    """CRC of all weights and buffers."""
    crc = 0
    for name, value in network.state_dict().items():
        crc = zlib.crc32(value.detach().cpu().contiguous().numpy().tobytes(), zlib.crc32(name.encode(), crc))
    return crc


def _from_config(kind: type, settings: dict, key: str):
    """``kind(**settings)`` for a dataclass; an unknown key or a bad value is an error that names the place in the config."""
    valid = [field.name for field in fields(kind)]
    for name in settings:
        if name not in valid:
            raise ConfigError(f"{key}: nothing reads the key '{name}'. {did_you_mean(name, valid)}")
    try:
        return kind(**settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f'{key}: {error}') from None


def _refuse_other_settings(saved: dict, now: dict, file: Path) -> None:
    now = json.loads(json.dumps(now))  # as the file has it: tuples are lists
    different = [f'{key}: {saved.get(key)} then, {now[key]} now' for key in now if saved.get(key) != now[key]]
    if different:
        raise ConfigError(f'{file}: --resume with other settings than the search began with:\n  ' + '\n  '.join(different))


def _summary(evolution: Evolution) -> str:
    scores = [scored.score for scored in evolution.history if scored.generation == evolution.generation - 1]
    best = evolution.best(1)[0]
    return (
        f'Generation {evolution.generation}/{evolution.settings.generations}: {len(scores)} candidates, mean '
        f'{sum(scores) / len(scores):.2f}, best {max(scores):.2f}; best so far {best.score:.2f}'
    )
