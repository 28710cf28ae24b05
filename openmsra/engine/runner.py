"""mmengine's Runner for runs that are killed, resumed and repeated, and that read files from elsewhere."""

import copy
import logging
import os
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from mmengine.device import get_device
from mmengine.dist import all_gather_object, get_rank
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import BaseLoop, Runner, set_random_seed
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from openmsra import compat
from openmsra.engine import predictions  # noqa: F401 - registers DumpPredictions
from openmsra.engine.checkpoint.files import locked, remove_stale_temporaries
from openmsra.engine.checkpoint.hook import DurableCheckpointHook, newest_whole, write_together
from openmsra.engine.checkpoint.io import PlainStateHook, load_file, load_weights
from openmsra.engine.checkpoint.pretrained import foreign_loads_are_checked
from openmsra.engine.checkpoint.resume import (
    capture_gradients,
    capture_progress,
    check_training_checkpoint,
    config_changes,
    keep_pace,
    overruled_settings,
    restore_gradients,
    restore_progress,
    samples_per_update,
)
from openmsra.engine.checkpoint.share import shared_file, together
from openmsra.engine.config.check import runner_keys
from openmsra.engine.data import samplers  # noqa: F401 - registers InfiniteSampler
from openmsra.engine.data.broken import PHASES, BrokenDataHook
from openmsra.engine.data.classes import class_names, require_classes, require_same_classes
from openmsra.engine.data.loader import keyed, require_batches, require_same_lengths
from openmsra.engine.deterministic import require_fixed_gradients
from openmsra.engine.logs import RuntimeInfoHook  # noqa: F401 - registers it
from openmsra.engine.loops import EpochBasedTrainLoop, IterBasedTrainLoop
from openmsra.engine.non_finite import NonFiniteLossHook
from openmsra.engine.param_groups import GroupedOptimWrapperConstructor  # noqa: F401 - registers it
from openmsra.engine.preemption import PreemptionHook, signals_are_requests
from openmsra.engine.summary import report_results
from openmsra.engine.watchdog import HungProcessHook
from openmsra.engine.wrappers import unwrapped
from openmsra.errors import CheckpointError, ConfigError

AUTO_RESUME = 'auto'  # value of the config's resume: the work dir's newest checkpoint; without one, load_from
WORKERS_ONLY = ('persistent_workers', 'prefetch_factor', 'timeout', 'multiprocessing_context')  # refused without workers


@RUNNERS.register_module()
class OpenMSRARunner(Runner):
    """Runner that resumes exactly, survives broken samples and loads checkpoints without executing them, whole or not at all.

    - ``load_from`` and ``resume`` fail when a key is missing, unexpected or misshapen (mmengine logs and goes on). Config text
      in a checkpoint is never evaluated (mmengine evaluates it on resume); what differs from the config of the run is logged.
    - ``resume`` without a path takes the newest checkpoint that is whole.
    - A checkpoint holds the place in the data and the random numbers of all processes; see :mod:`openmsra.engine.data.loader`.
    - A loss that is not finite stops the run (:class:`NonFiniteLossHook`), broken samples do so from 1 % on
      (:class:`BrokenDataHook`).
    """

    resumed_from: Path | None = None

    def __init__(self, *args, **kwargs) -> None:
        self._class_names: dict[str, list | None] = {}
        compat.bridge_torchvision()  # the log of the environment imports it, also for a paper that does not need it
        super().__init__(*args, **kwargs)

    def setup_env(self, env_cfg: dict) -> None:
        """mmengine's, and room on the disk: what a killed run has left half written may fill it before anything is logged."""
        super().setup_env(env_cfg)
        if get_rank() == 0:
            remove_stale_temporaries(self.work_dir)

    def dump_config(self) -> None:
        """Write the config into the work dir without the variables of its files, which nothing reads any more."""
        complete, unread = self.cfg, set(self.cfg) - runner_keys()
        self.cfg = copy.deepcopy(complete)
        for name in unread:
            self.cfg.pop(name)
        super().dump_config()
        self.cfg = complete

    def build_logger(self, *args, **kwargs):
        """mmengine's logger without what nobody can act on; what nobody reads on a terminal goes to the file alone."""
        logger = super().build_logger(*args, **kwargs)
        logger.addFilter(not_an_unfilled_registry)
        for handler in logger.handlers:
            handler.addFilter(concerns_the_user)
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(is_for_the_terminal)
        return logger

    def register_hooks(self, default_hooks=None, custom_hooks=None) -> None:
        """The config's hooks, and those without which a run would not be safe."""
        super().register_hooks(default_hooks, custom_hooks)
        self.register_hook(PlainStateHook(), priority='VERY_LOW')
        for needed in (BrokenDataHook, NonFiniteLossHook):
            if not any(isinstance(hook, needed) for hook in self.hooks):
                self.register_hook(needed())
        if any(isinstance(hook, DurableCheckpointHook) for hook in self.hooks):
            self.register_hook(PreemptionHook())
        self.register_hook(HungProcessHook())

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """mmengine's loops by ``by_epoch`` are ours, which know their place in the data."""
        if isinstance(loop, dict) and 'type' not in loop:
            loop = copy.deepcopy(loop)
            loop['type'] = EpochBasedTrainLoop if loop.pop('by_epoch') else IterBasedTrainLoop
        return super().build_train_loop(loop)

    def build_dataloader(
        self, dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """mmengine's loader, with samples that are seeded one by one and replaced where they are broken.

        Raises:
            DataError: there are fewer samples than a batch needs: a loop over nothing would end without having done anything.
        """
        phase = next((phase for phase in PHASES if getattr(self, f'_{phase}_dataloader') is dataloader), 'other')
        if isinstance(dataloader, dict) and not dataloader.get('num_workers'):
            dataloader = {key: value for key, value in dataloader.items() if key not in WORKERS_ONLY}
        loader = Runner.build_dataloader(dataloader, seed, False)  # the seed is that of all processes
        if loader is dataloader or isinstance(loader.dataset, IterableDataset):
            return loader
        require_batches(loader, phase)
        if phase in PHASES:
            require_same_lengths(len(loader.dataset), phase)
        self._compare_classes(loader.dataset, phase)
        return keyed(loader, self.seed, str(Path(self.log_dir) / f'broken_{phase}_rank{get_rank()}.jsonl'))

    def _compare_classes(self, dataset: Dataset, phase: str) -> None:
        """The classes of the data with those of the network and of the other data.

        Raises:
            ConfigError: they differ.
        """
        require_classes(self._network, dataset, phase)
        names = class_names(dataset)
        for other, known in self._class_names.items():
            require_same_classes(known, names, f'{other}_dataloader and {phase}_dataloader')
        self._class_names[phase] = names

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """mmengine's; its metrics say so where samples had to be replaced."""
        return self._guarded(super().build_val_loop(loop), 'val')

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """mmengine's; its metrics are refused where samples had to be replaced."""
        return self._guarded(super().build_test_loop(loop), 'test')

    def _guarded(self, loop: BaseLoop, phase: str) -> BaseLoop:
        evaluator = loop.evaluator
        if not isinstance(evaluator.evaluate, partial):
            evaluator.evaluate = partial(self.broken_data.evaluate, self, phase, evaluator.evaluate)
        return loop

    @property
    def broken_data(self) -> BrokenDataHook:
        """The hook that watches for samples that cannot be read."""
        return next(hook for hook in self.hooks if isinstance(hook, BrokenDataHook))

    def save_checkpoint(self, out_dir: str, filename: str, *args, **kwargs) -> None:
        """Write a checkpoint; to be called on all processes.

        Raises:
            CheckpointWriteError: on all processes, when the main one cannot write.
        """
        self._progress = dict(
            capture_progress(self.train_loop),
            gradients=capture_gradients(self._network, self.optim_wrapper),
            samples_per_update=samples_per_update(self.train_loop, self.optim_wrapper)
            if self._stops_between_iterations
            else None,
        )
        write_together(lambda: super(OpenMSRARunner, self).save_checkpoint(out_dir, filename, *args, **kwargs))

    def call_hook(self, fn_name: str, **kwargs) -> None:
        """mmengine's call; a checkpoint that is about to be written also gets the progress of all processes."""
        if fn_name == 'before_save_checkpoint':
            kwargs['checkpoint']['progress'] = self._progress
            kwargs['checkpoint']['meta']['optimized_with'] = self._optimized_with or self.cfg.pretty_text
        super().call_hook(fn_name, **kwargs)

    @property
    def _network(self) -> nn.Module:
        """The model without what distributes it."""
        return unwrapped(self.model)

    def load_or_resume(self) -> None:
        """As the config says; a resume without a path tries the checkpoints of the work dir from the newest to the oldest.

        With ``resume='auto'`` a work dir without a checkpoint starts from the weights of ``load_from``, as a run without a resume
        does: a job that goes back into the queue is started in the same way the first time. ``resume=True`` beside a
        ``load_from`` resumes that file, as in mmengine.

        Processes that torchrun has started again, because one has died (``MAX_RESTARTS``) or a machine has come or gone, go on
        from what the run has written so far, if anything: since the first launch, which a machine that came later has not seen.
        """
        launches = [float(start) for start in all_gather_object(os.environ.get('OPENMSRA_STARTED')) if start]
        if launches and not self._has_loaded:
            self._has_loaded = newest_whole(self.work_dir, self.resume, self.logger.warning, min(launches)) is not None
        if self._has_loaded or not self._resume or (self._load_from is not None and self._resume != AUTO_RESUME):
            super().load_or_resume()
        elif newest_whole(self.work_dir, self.resume, self.logger.warning) is None:
            start = 'at its beginning' if self._load_from is None else f'from the weights of {self._load_from} (load_from)'
            self.logger.info(f'{self.work_dir} holds no checkpoint: the training begins {start}.')
            if self._load_from is not None:
                self._resume = False  # mmengine's hooks ask for it: averaged weights are taken from a resumed file only
                self.load_checkpoint(self._load_from)

    def train(self) -> nn.Module:
        """mmengine's training, alone in its work dir; a signal ends it after its iteration, with a checkpoint.

        Raises:
            ConfigError: another process is training in this work dir, or fixed algorithms are asked for and a layer has none.
            PreemptedError: SIGTERM, SIGUSR1 or SIGINT reached one of the processes.
        """
        started = time.monotonic()
        require_fixed_gradients(self._network, get_device())
        with locked(self.work_dir), signals_are_requests() if self._stops_between_iterations else nullcontext():
            model = super().train()
            if get_rank() == 0:
                report_results(self, time.monotonic() - started)
        return model

    @property
    def _stops_between_iterations(self) -> bool:
        """A search, say, has no iterations and saves by itself; a signal ends it at once."""
        kind = self._train_loop.get('type') if isinstance(self._train_loop, dict) else type(self._train_loop)
        return kind in (None, 'EpochBasedTrainLoop', 'IterBasedTrainLoop', EpochBasedTrainLoop, IterBasedTrainLoop)

    def set_randomness(self, seed, diff_rank_seed: bool = False, deterministic: bool = False) -> None:
        """mmengine's, with two changes.

        With ``diff_rank_seed`` the generators of each process start from seed + rank (Mixup, CutMix, dropped paths), while
        :attr:`seed` stays the one of all processes, from which comes what must agree: the order of the data, architectures.
        Deterministic matrix products on a GPU need a fixed workspace, set before the first of them.
        """
        if deterministic:
            os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
        super().set_randomness(seed, False, deterministic)
        if diff_rank_seed and get_rank():
            set_random_seed(self.seed, deterministic, diff_rank_seed=True)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """mmengine's; ``model_wrapper_cfg`` (``static_graph``, ``bucket_cap_mb``, ``gradient_as_bucket_view``, ...) adds to what
        a run without it has, on GPUs and on CPUs alike, where mmengine would leave that out.
        """
        if self.distributed and not is_model_wrapper(model):
            usual = dict(
                type='MMDistributedDataParallel',
                broadcast_buffers=False,
                find_unused_parameters=self.cfg.get('find_unused_parameters', False),
            )
            model_wrapper_cfg = {**usual, **(model_wrapper_cfg or {})}
            if model_wrapper_cfg.get('static_graph') and getattr(model, 'changes_its_graph', False):
                raise ConfigError(
                    f'model_wrapper_cfg.static_graph: {type(model).__name__} does not use the same parameters in all iterations; '
                    'leave it out.'
                )
            if not torch.cuda.is_available():
                model_wrapper_cfg['device_ids'] = None
        return super().wrap_model(model_wrapper_cfg, model)

    def _maybe_compile(self, target: str) -> None:
        """``compile=True``, or a dictionary of arguments of ``torch.compile``: the network's loss is compiled.

        mmengine compiles the step around it, whose graph always breaks (backward pass, update), so that ``fullgraph=True`` could
        not tell whether the network's does.

        Raises:
            ConfigError: the network says why it is not compiled, in its attribute ``not_compiled_because``.
        """
        settings, network = self.cfg.get('compile'), self._network
        if target != 'train_step' or settings in (None, False):
            return
        reason = getattr(network, 'not_compiled_because', '')
        if reason:
            raise ConfigError(f'compile: {type(network).__name__} is not compiled, since {reason}; leave compile out.')
        plain, compiled = network.forward, torch.compile(network.forward, **(settings if isinstance(settings, dict) else {}))

        def forward(*args, mode: str = 'tensor', **kwargs):
            return (compiled if mode == 'loss' else plain)(*args, mode=mode, **kwargs)

        network.forward = forward
        self.logger.info(f'The loss of {type(network).__name__} is compiled ({settings}): the first iterations take longer.')

    def _init_model_weights(self) -> None:
        """mmengine's; what a library loads on its own account is checked."""
        with foreign_loads_are_checked():
            super()._init_model_weights()

    def resume(self, filename: str | Path, resume_optimizer: bool = True, resume_param_scheduler: bool = True, **_) -> None:
        """Go on from a training checkpoint, which is read on the CPU: weights and optimizer state are copied from there to the
        device once, and the random numbers stay where they belong.

        Raises:
            DamagedCheckpointError: the file is not whole; nothing has been changed.
            CheckpointError: it is unsafe, does not fit, or is none of a training.
        """
        self._resuming = True
        try:
            super().resume(str(filename), resume_optimizer, resume_param_scheduler, map_location='cpu')
            restore_gradients(self._network, (self._progress or {}).get('gradients', {}))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = f'{type(error).__name__}: {error}'.splitlines()[0]
            what = 'optimizer, schedules or gradients'
            raise CheckpointError(f'{filename}: its {what} do not fit this training ({reason}).') from error
        finally:
            self._resuming = False
        self.resumed_from = Path(filename)
        if self._stops_between_iterations and (sentence := keep_pace(self, (self._progress or {}).get('samples_per_update'))):
            self.logger.info(sentence)
        reason = restore_progress(self.train_loop, self._progress)
        if reason:
            self.logger.warning(f'{filename}: the run goes on, but not exactly as it would have: {reason}.')

    _resuming = False
    _optimized_with = ''  # text of the config under which the state of the optimizer and of its schedule began

    def load_checkpoint(self, filename: str, map_location='cpu', strict: bool = True, revise_keys=()) -> dict:
        """Load the weights of ``filename`` and return the checkpoint without its config text.

        Raises:
            CheckpointError: the file is unsafe, damaged or does not fit.
        """
        if not strict or revise_keys:
            raise ValueError('Weights are loaded strictly; rename keys with a tool of tools/model_converters/ instead.')
        trust = bool(self.cfg.get('trust_checkpoint'))
        if trust:
            self.logger.warning(f'--trust-checkpoint: whatever code {filename} contains is executed now.')
        filename = str(shared_file(filename))
        checkpoint = together(lambda: load_file(filename, map_location, trust))
        if self._resuming:
            check_training_checkpoint(checkpoint, filename)
            self._progress = checkpoint.pop('progress', None)
            self._log_config_changes(checkpoint['meta'], filename)
        self._compare_trained_classes(checkpoint, filename)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        load_weights(self._network, checkpoint, filename)
        if isinstance(checkpoint.get('meta'), dict):
            checkpoint['meta'].pop('config', None)
        self._has_loaded = True
        self.logger.info(f'Loaded every weight of {filename}')
        return checkpoint

    def _compare_trained_classes(self, checkpoint: dict, filename: str) -> None:
        """A test, or a training that is resumed, numbers classes as the training that wrote the checkpoint."""
        phase = 'train' if self._resuming else 'test'
        stated = checkpoint.get('meta') if isinstance(checkpoint.get('meta'), dict) else {}
        stated = stated.get('dataset_meta') if isinstance(stated.get('dataset_meta'), dict) else {}
        trained = stated.get('classes', stated.get('CLASSES'))
        trained = list(trained) if isinstance(trained, list | tuple) and trained else None
        if self._resuming or 'train' not in self._class_names:
            require_same_classes(trained, self._class_names.get(phase), f'{filename} and {phase}_dataloader')

    def _log_config_changes(self, meta: dict, filename: str) -> None:
        if not meta.get('cfg'):
            return
        changes = config_changes(meta['cfg'], self.cfg.pretty_text)
        self._optimized_with = meta.get('optimized_with', meta['cfg'])
        overruled = overruled_settings(self._optimized_with, self.cfg.pretty_text)
        if overruled:
            self.logger.warning(
                f'{filename} holds the state of the optimizer and of its schedule, and a resumed run goes on with it. These '
                f'settings of your config are NOT used: {"; ".join(overruled)}. To train on with them from these weights, leave '
                f'--resume out and give --cfg-options load_from={filename}.'
            )
        if changes:
            self.logger.warning(f'{filename} was written with another config:\n' + '\n'.join(changes[:40]))


def concerns_the_user(record: logging.LogRecord) -> bool:
    """A log filter: words of mmengine about its own old interfaces, which sibling libraries still use, are left out."""
    message = record.getMessage()
    return not ('"FileClient" will be deprecated' in message or '"HardDiskBackend" is the alias' in message)


def is_for_the_terminal(record: logging.LogRecord) -> bool:
    """A log filter: the environment, the config and the list of hooks fill screens; they stand in the log file."""
    message = record.getMessage().lstrip('\n-')
    return not message.startswith(('System environment:', 'Config:', 'Hooks will be executed'))


def not_an_unfilled_registry(record: logging.LogRecord) -> bool:
    """A log filter: mmengine's warning that a scope fills only some of the registries, which is meant, is left out."""
    return not record.getMessage().startswith('Failed to search registry with scope "openmsra"')
