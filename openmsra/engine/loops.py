"""mmengine's training loops with a place in the data: they can stop after any iteration and go on exactly there."""

from collections.abc import Iterator
from typing import Any

from mmengine.runner import EpochBasedTrainLoop as MMEngineEpochLoop
from mmengine.runner import IterBasedTrainLoop as MMEngineIterLoop

from openmsra.engine import rng
from openmsra.engine.data.loader import Position
from openmsra.registry import LOOPS


class _PlacedLoop:
    """What both loops share. ``position`` is saved with each checkpoint; ``rng_state`` is taken up where it was put aside."""

    position = Position()
    rng_state: dict | None = None

    def batches(self) -> Iterator[Any]:
        """Batches of the current pass from ``position`` on; the position moves with them."""
        self.dataloader.begin(self.position)
        iterator = iter(self.dataloader)
        self.take_up_rng()
        for batch in iterator:
            self.position = Position(self.position.epoch, self.position.batches + 1)  # with this one, when it is saved
            yield batch

    def take_up_rng(self) -> None:
        """Set the generators as they were when the checkpoint was saved; what ran since then was preparation."""
        if self.rng_state is not None:
            rng.restore(self.rng_state)
            self.rng_state = None

    def _resumes_before_validation(self) -> bool:
        """Whether the checkpoint was written just before a validation, which the run that wrote it may not have lived to do."""
        at_the_end = not self.position.batches or isinstance(self, MMEngineIterLoop)
        return self.rng_state is not None and at_the_end and self._is_validation_due()

    def validate(self) -> None:
        """Run the validation without a trace in the training's random numbers."""
        state = rng.capture()
        self.runner.val_loop.run()
        rng.restore(state)


@LOOPS.register_module(name='EpochBasedTrainLoop')
class EpochBasedTrainLoop(_PlacedLoop, MMEngineEpochLoop):
    """Training by epochs; a run that was interrupted inside an epoch reads only the rest of it."""

    def run(self):
        """Launch training."""
        self.runner.call_hook('before_train')
        if self._resumes_before_validation():
            self.validate()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            if self._is_validation_due():
                self.validate()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """The rest of the current epoch, all of it if the run was not interrupted inside."""
        self.position = Position(self._epoch, self.position.batches)
        if not self.position.batches:
            self.take_up_rng()
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for batch in self.batches():
            self.run_iter(self.position.batches - 1, batch)
        self.position = Position(self._epoch + 1)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _is_validation_due(self) -> bool:
        last = self._epoch == self._max_epochs
        return (
            self.runner.val_loop is not None and self._epoch >= self.val_begin and (last or self._epoch % self.val_interval == 0)
        )


@LOOPS.register_module(name='IterBasedTrainLoop')
class IterBasedTrainLoop(_PlacedLoop, MMEngineIterLoop):
    """Training by iterations; the data are passed over as often as needed, and nothing is read that has been trained already."""

    def __init__(
        self,
        runner,
        dataloader,
        max_iters: int,
        val_begin: int = 1,
        val_interval: int = 1000,
        dynamic_intervals: list[tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(runner, dataloader, max_iters, val_begin, val_interval, dynamic_intervals)

    def run(self):
        """Launch training."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        if self._resumes_before_validation():
            self.validate()
        while self._iter < self._max_iters and not self.stop_training:
            self._run_pass()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _run_pass(self) -> None:
        """Once over the data, or to the end of the training; samplers without an end are passed over once."""
        for batch in self.batches():
            self.runner.model.train()
            self.run_iter(batch)
            self._decide_current_val_interval()
            if self._is_validation_due():
                self.validate()
            if self._iter >= self._max_iters or self.stop_training:
                return
        self.position = Position(self.position.epoch + 1)

    def _is_validation_due(self) -> bool:
        last = self._iter == self._max_iters
        return self.runner.val_loop is not None and self._iter >= self.val_begin and (last or self._iter % self.val_interval == 0)
