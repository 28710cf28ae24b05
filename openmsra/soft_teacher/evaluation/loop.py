"""Evaluation of teacher and student in one validation."""

from mmengine.model import is_model_wrapper
from mmengine.runner import ValLoop

from openmsra.registry import LOOPS


@LOOPS.register_module()
class TeacherStudentValLoop(ValLoop):
    """Evaluates the networks in turn; metrics are named ``teacher/...`` and ``student/...``.

    Args:
        dataloader, evaluator, fp16: see mmengine's ``ValLoop``.
        networks: which of 'teacher' and 'student'.
    """

    def __init__(
        self, runner, dataloader, evaluator, fp16: bool = False, networks: tuple[str, ...] = ('teacher', 'student')
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        if not set(networks) <= {'teacher', 'student'} or not networks:
            raise ValueError(f"TeacherStudentValLoop: networks={networks!r}; valid are 'teacher' and 'student'.")
        self.networks = tuple(networks)

    def run(self) -> dict[str, float]:
        """All metrics; the detector then predicts with the network that the config names, also after an exception."""
        self.runner.call_hook('before_val')
        self.runner.call_hook('before_val_epoch')
        self.runner.model.eval()
        model = self.runner.model.module if is_model_wrapper(self.runner.model) else self.runner.model
        configured, metrics = dict(model.semi_test_cfg), {}
        try:
            for network in self.networks:
                model.semi_test_cfg['predict_on'] = network
                self.val_loss.clear()
                for number, batch in enumerate(self.dataloader):
                    self.run_iter(number, batch)
                results = self.evaluator.evaluate(len(self.dataloader.dataset))
                metrics |= {f'{network}/{name}': value for name, value in results.items()}
        finally:
            model.semi_test_cfg = configured
        self.runner.call_hook('after_val_epoch', metrics=metrics)
        self.runner.call_hook('after_val')
        return metrics
