"""Evaluation of teacher and student in one validation."""

import torch
from mmengine.runner import ValLoop, autocast

from openmsra.engine.wrappers import unwrapped
from openmsra.registry import LOOPS


@LOOPS.register_module()
class TeacherStudentValLoop(ValLoop):
    """Evaluates the networks side by side, on one reading of the data; metrics are named ``teacher/...`` and ``student/...``.

    Hooks see every batch once, with the predictions of the network that the config names.

    Args:
        dataloader, evaluator, fp16: see mmengine's ``ValLoop``.
        networks: which of 'teacher' and 'student'.

    Raises:
        ValueError: another network, or none.
    """

    def __init__(
        self, runner, dataloader, evaluator, fp16: bool = False, networks: tuple[str, ...] = ('teacher', 'student')
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        if not set(networks) <= {'teacher', 'student'} or not networks:
            raise ValueError(f"TeacherStudentValLoop: networks={networks!r}; valid are 'teacher' and 'student'.")
        self.networks = tuple(networks)
        self.results: dict[str, list[list]] = {}  # of each network, what each metric has collected

    def run(self) -> dict[str, float]:
        """All metrics; the detector then predicts with the network that the config names, also after an exception."""
        self.runner.call_hook('before_val')
        self.runner.call_hook('before_val_epoch')
        self.runner.model.eval()
        self.results = {network: [[] for _ in self.evaluator.metrics] for network in self.networks}
        settings, metrics = self._settings, {}
        configured = dict(settings)
        try:
            for number, batch in enumerate(self.dataloader):
                self.run_iter(number, batch)
        finally:
            settings.update(configured)
        for network in self.networks:
            self._collect_for(network)
            values = self.evaluator.evaluate(len(self.dataloader.dataset))
            metrics |= {f'{network}/{name}': value for name, value in values.items()}
        self.runner.call_hook('after_val_epoch', metrics=metrics)
        self.runner.call_hook('after_val')
        return metrics

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict) -> None:
        """One batch through both networks."""
        self.runner.call_hook('before_val_iter', batch_idx=idx, data_batch=data_batch)
        configured = self._settings['predict_on']
        for network in sorted(self.networks, key=lambda network: network == configured):  # that of the config comes last
            self._settings['predict_on'] = network
            with autocast(enabled=self.fp16):
                outputs = self.runner.model.val_step(data_batch)
            self._collect_for(network)
            self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        self._settings['predict_on'] = configured
        self.runner.call_hook('after_val_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)

    def _collect_for(self, network: str) -> None:
        for metric, results in zip(self.evaluator.metrics, self.results[network], strict=True):
            metric.results = results

    @property
    def _settings(self) -> dict:
        """``semi_test_cfg`` of the detector."""
        return unwrapped(self.runner.model).semi_test_cfg
