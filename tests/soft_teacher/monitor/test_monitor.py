"""What users see of pseudo labels and detections: figures, warnings, pictures, exports, files of results."""

import copy
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.registry import MODELS
from mmengine.structures import InstanceData

from openmsra.engine.checkpoint.io import load_weights, save_file
from openmsra.errors import DataError
from openmsra.soft_teacher.hooks import plain_detector
from openmsra.soft_teacher.monitor.browse import pseudo_labels_of_views
from openmsra.soft_teacher.monitor.hook import PseudoLabelMonitor
from openmsra.soft_teacher.monitor.pictures import pseudo_label_pictures
from openmsra.soft_teacher.monitor.quality import ground_truth_figures, matches, pseudo_label_figures
from tests.soft_teacher.conftest import CONFIG


@pytest.fixture
def taught(build, batch):
    """A model after a step, and its batch with hidden labels."""
    model, (inputs, samples) = build(), copy.deepcopy(batch)
    for branch in ('unsup_teacher', 'unsup_student'):
        for one in samples[branch]:
            one.set_metainfo(dict(hidden_bboxes=np.array([[10, 10, 40, 50]], np.float32), hidden_labels=np.array([1])))
    model.loss(inputs, samples)
    return model, inputs


def test_figures_count_what_was_taught(taught):
    model, _ = taught
    pseudo_labels = model.pseudo_labels
    figures = pseudo_label_figures(pseudo_labels, model.unsup_branch)
    assert (
        figures['candidates'] == sum(map(len, pseudo_labels.candidates)) / 2 >= figures['boxes_cls'] == figures['boxes_rpn'] > 0
    )
    assert 0 <= figures['background_weight'] <= 1 and figures['uncertainty'] > 0
    assert sum(figures[f'scores_from_{low}'] for low in (0.5, 0.6, 0.7, 0.8, 0.9)) <= figures['candidates']
    sums = ground_truth_figures(pseudo_labels, model.unsup_branch)
    assert sums['recall_cls'][1] == 2 and sums['precision_cls'][1] == figures['boxes_cls'] * 2


def test_matches_by_hand():
    truth = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40]])
    pseudo = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 10, 9], [0, 0, 10, 10], [20, 20, 40, 40], [70, 70, 80, 80]]),
        labels=torch.tensor([0, 0, 2, 0]),
        scores=torch.tensor([0.9, 0.8, 0.7, 0.6]),
    )
    right, ious = matches(pseudo, truth, torch.tensor([0, 1]))
    assert right == 1, 'the second is a duplicate, the third of another class, the fourth on nothing'
    assert ious == pytest.approx([0.9, 1, 1, 0])
    assert matches(pseudo[:0], truth, torch.tensor([0, 1])) == (0, [])


def _runner(model, tmp_path, iteration: int = 0) -> SimpleNamespace:
    hub, logger = MessageHub.get_instance(f'test{id(model)}'), logging.getLogger('openmsra.test')
    return SimpleNamespace(model=model, iter=iteration, rank=0, work_dir=str(tmp_path), message_hub=hub, logger=logger)


def test_monitor_logs_averages(taught, tmp_path):
    model, _ = taught
    monitor, runner = PseudoLabelMonitor(interval=2, picture_interval=0), _runner(model, tmp_path)
    for runner.iter in range(2):
        monitor.after_train_iter(runner, runner.iter)
    logged = {name: buffer.current() for name, buffer in runner.message_hub.log_scalars.items()}
    assert logged['train/pseudo_candidates'] == pseudo_label_figures(model.pseudo_labels, model.unsup_branch)['candidates']
    assert 0 <= logged['train/pseudo_precision_cls'] <= 1 and 'train/pseudo_recall_reg' in logged


@pytest.mark.parametrize(
    'settings, words',
    [
        (dict(pseudo_label_initial_score_thr=1.0, rpn_pseudo_thr=1.0, cls_pseudo_thr=1.0), 'pseudo_label_initial_score_thr=1.0'),
        (dict(cls_pseudo_thr=1.0), 'cls_pseudo_thr=1.0 is above all scores'),
        (dict(reg_pseudo_thr=0.0), r'reg_pseudo_thr=0.0. Raise it'),
    ],
)
def test_idle_threshold_is_named(build, batch, tmp_path, caplog, settings, words):
    model = build(**settings)
    model.loss(*copy.deepcopy(batch))
    monitor, runner = PseudoLabelMonitor(interval=100, picture_interval=0, patience=3), _runner(model, tmp_path)
    with caplog.at_level(logging.WARNING, 'openmsra.test'):
        for runner.iter in range(2):
            monitor.after_train_iter(runner, runner.iter)
        assert not caplog.records
        monitor.after_train_iter(runner, 2)
    assert any(words in record.getMessage() for record in caplog.records), caplog.text


def test_picture_shows_both_views_with_boxes(taught):
    model, inputs = taught
    pictures = pseudo_label_pictures(inputs, model.pseudo_labels, model.unsup_branch, model.data_preprocessor.data_preprocessor)
    assert len(pictures) == 2 and pictures[0].shape[1] > 2 * 96
    colours = {tuple(pixel) for picture in pictures for pixel in picture.reshape(-1, 3)[::1].tolist()}
    assert {(160, 160, 160), (255, 255, 255)} <= colours, 'candidates and hidden truth are drawn'


def test_hidden_labels_stand_in_for_a_teacher(taught, batch):
    model, inputs = taught
    samples = copy.deepcopy(batch[1])
    with pytest.raises(DataError, match='hidden=True'):
        pseudo_labels_of_views(model, dict(inputs=inputs, data_samples=samples), trained=False)
    for branch in ('unsup_teacher', 'unsup_student'):
        for one in samples[branch]:
            one.set_metainfo(dict(hidden_bboxes=np.array([[10, 10, 40, 50]], np.float32), hidden_labels=np.array([1])))
    pseudo_labels = pseudo_labels_of_views(model, dict(inputs=inputs, data_samples=samples), trained=False)
    assert pseudo_labels.instances[0].bboxes.tolist() == [pytest.approx([40 / 3, 40 / 3, 160 / 3, 200 / 3], abs=1e-4)]


def test_exported_teacher_is_a_plain_detector_with_the_same_predictions(build, batch, tiny_cfg):
    model = build().eval()
    plain = MODELS.build(copy.deepcopy(tiny_cfg.detector)).eval()
    exported = plain_detector(model.state_dict(), 'teacher', dict(classes=('a', 'b', 'c')))
    plain.load_state_dict(exported['state_dict'])
    with torch.no_grad():
        ours, theirs = (net.predict(batch[0]['sup'], copy.deepcopy(batch[1]['sup']))[0].pred_instances for net in (model, plain))
    assert len(ours)
    for key, tolerance in (('bboxes', 1e-3), ('scores', 1e-5)):  # without a GPU RoIAlign rounds in another way
        torch.testing.assert_close(ours[key], theirs[key], atol=tolerance, rtol=0)
    assert exported['meta']['dataset_meta']['classes'] == ('a', 'b', 'c')
    mean = plain_detector(model.state_dict(), 'mean')['state_dict']['neck.fpn_convs.0.conv.weight']
    parts = [net.neck.fpn_convs[0].conv.weight for net in (model.teacher, model.student)]
    torch.testing.assert_close(mean, sum(parts) / 2)
    with pytest.raises(ValueError, match='not one of Soft Teacher'):
        plain_detector(exported['state_dict'])


def test_plain_detector_fills_student_and_teacher(build):
    model, other = build(seed=1), build(seed=2)
    load_weights(model, plain_detector(other.state_dict(), 'student'), 'plain.pth')
    for network in (model.teacher, model.student):
        assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.student.parameters()))


def test_converter_round_trip_and_faults(build, tmp_path, run_tool):
    state = build().state_dict()
    save_file(dict(state_dict=state, meta=dict(epoch=1)), tmp_path / 'official.pth')
    tool = 'tools/model_converters/soft_teacher_from_official.py'
    run_tool(tool, tmp_path / 'official.pth', tmp_path / 'plain.pth', '--config', CONFIG, '--export', 'student')
    plain = torch.load(tmp_path / 'plain.pth', weights_only=True)['state_dict']
    assert torch.equal(plain['rpn_head.rpn_cls.weight'], state['student.rpn_head.rpn_cls.weight'])
    broken = dict(state, **{'extra.weight': torch.ones(1)})
    broken.pop('teacher.rpn_head.rpn_cls.bias')
    save_file(dict(state_dict=broken), tmp_path / 'broken.pth')
    done = run_tool(tool, tmp_path / 'broken.pth', tmp_path / 'none.pth', '--config', CONFIG, check=False)
    assert done.returncode == 2 and not (tmp_path / 'none.pth').exists()
    assert 'teacher.rpn_head.rpn_cls.bias' in done.stderr and 'extra.weight' in done.stderr


def test_test_settings_are_checked(tiny_cfg):
    cfg = copy.deepcopy(tiny_cfg)
    cfg.semi_test_cfg = ConfigDict(predict_on='techer')
    with pytest.raises(ValueError, match="'teacher' and 'student'"):
        MODELS.build(cfg)
