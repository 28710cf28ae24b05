"""Teacher and student in one validation: each image is read once, and the figures are those of a network alone."""

from unittest.mock import MagicMock

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook

from openmsra.engine.config.files import load_config
from openmsra.engine.launch import build_runner
from openmsra.registry import METRICS
from tests.soft_teacher.conftest import CONFIG, _make_opinionated


@METRICS.register_module()
class Scores(BaseMetric):
    """Images, boxes and the sum of their scores."""

    def process(self, data_batch, data_samples) -> None:
        self.results += [sample['pred_instances']['scores'].tolist() for sample in data_samples]

    def compute_metrics(self, results: list) -> dict[str, float]:
        return dict(images=len(results), boxes=sum(map(len, results)), scores=sum(map(sum, results)))


class Seen(Hook):
    """The number and the predictions of every batch."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, float]] = []

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.batches.append((batch_idx, sum(float(sample.pred_instances.scores.sum()) for sample in outputs)))


@pytest.fixture
def validate(tmp_path):
    """Metrics of an untrained teacher and an untrained student, what a hook has seen, and how often an image was read."""

    def run(networks: tuple[str, ...], predict_on: str = 'teacher'):
        cfg = load_config(CONFIG)
        cfg.work_dir, cfg.launcher, cfg.randomness = str(tmp_path), 'none', dict(seed=0)
        cfg.experiment_name = '-'.join(networks) + predict_on
        cfg.val_cfg.networks, cfg.model.semi_test_cfg.predict_on = networks, predict_on
        cfg.val_evaluator = [dict(type='Scores'), dict(type='Scores', prefix='again')]
        runner, seen, read = build_runner(cfg), Seen(), []
        runner.register_hook(seen)
        for seed, network in enumerate((runner.model.teacher, runner.model.student)):
            torch.manual_seed(seed)
            _make_opinionated(network)
        dataset = runner.val_dataloader.dataset
        prepare = dataset.prepare_data

        def counted(index):
            read.append(index)
            return prepare(index)

        dataset.prepare_data = counted
        return runner, seen, read

    return run


def test_both_networks_see_every_image_that_is_read_once(validate):
    runner, seen, read = validate(('teacher', 'student'))
    both = runner.val()
    assert sorted(read) == list(range(len(runner.val_dataloader.dataset)))
    assert both['teacher/boxes'] > 0 and both['teacher/scores'] != both['student/scores']
    for network in ('teacher', 'student'):
        alone = validate((network,))[0].val()
        assert alone == {name: value for name, value in both.items() if name.startswith(network)}
        assert both[f'{network}/images'] == both[f'{network}/again/images'] == len(read)
        assert both[f'{network}/scores'] == both[f'{network}/again/scores']


@pytest.mark.parametrize('network', ['teacher', 'student'])
def test_hooks_see_each_batch_once_with_the_predictions_of_the_config(validate, network):
    runner, seen, _ = validate(('teacher', 'student'), network)
    metrics = runner.val()
    assert [number for number, _ in seen.batches] == list(range(len(runner.val_dataloader)))
    assert sum(scores for _, scores in seen.batches) == pytest.approx(metrics[f'{network}/scores'], rel=1e-5)


def test_network_of_the_config_predicts_after_an_exception(validate):
    runner, _, _ = validate(('teacher', 'student'), 'student')
    runner.val_loop.evaluator.process = MagicMock(side_effect=RuntimeError('disk full'))
    with pytest.raises(RuntimeError, match='disk full'):
        runner.val()
    assert runner.model.semi_test_cfg['predict_on'] == 'student'


def test_another_network_is_refused(validate):
    with pytest.raises(ValueError, match="networks=.*'pupil'"):
        validate(('teacher', 'pupil'))
