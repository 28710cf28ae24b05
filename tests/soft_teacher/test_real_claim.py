"""The experiment on circuit boards: what its arms are on each data set, without a training."""

import json

import pytest

from benchmarks import soft_teacher_real
from benchmarks.soft_teacher_real import ARMS, BASELINE, CELLS, FEW_MORE, LABELLED, OURS, TRUST


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """``semi_train_cfg`` and the data of a training of any arm."""
    for name in ('deeppcb', 'bccd'):
        (tmp_path / name).mkdir()
    monkeypatch.setenv('OPENMSRA_DATA', str(tmp_path))

    def of(data, arm, trust):
        cfg = soft_teacher_real._training(data, arm, 1e-3, 0, tmp_path / 'runs', trust=trust).config
        return cfg.model.semi_train_cfg, cfg.train_dataloader.dataset

    return of


@pytest.mark.parametrize('data', LABELLED)
@pytest.mark.parametrize('trust', TRUST)
def test_baseline_has_labels_alone_whatever_pseudo_boxes_are_trusted(settings, data, trust):
    semi, dataset = settings(data, BASELINE, trust)
    assert semi.unsup_weight == 0 and 'datasets' not in dataset
    semi, dataset = settings(data, OURS, trust)
    assert (semi.cls_pseudo_thr, semi.reg_pseudo_thr, semi.unsup_weight) == TRUST[trust]
    assert semi.rpn_pseudo_thr == semi.cls_pseudo_thr
    assert [part.ann_file.endswith('unlabeled.json') for part in dataset.datasets] == [False, True]


@pytest.mark.parametrize('arm', [arm for arm, (_, changes) in ARMS.items() if changes])
def test_an_ablation_differs_in_its_change_alone(settings, arm):
    trust = list(TRUST)[-1]
    (whole, _), (ablated, _) = (settings(FEW_MORE, name, trust) for name in (OURS, arm))
    assert ablated == whole.to_dict() | ARMS[arm][1] != whole


def test_cells_and_boards_have_runs_of_their_own(settings, tmp_path):
    runs = {
        soft_teacher_real._training(data, arm, 1e-3, 0, tmp_path, trust=trust).work_dir
        for data in (FEW_MORE, CELLS)
        for arm, trust in [(BASELINE, next(iter(TRUST)))] + [(OURS, trust) for trust in TRUST]
    }
    assert len(runs) == 2 * (1 + len(TRUST))


def test_a_longer_burn_in_has_a_run_of_its_own_and_the_short_one_keeps_its_name(settings, tmp_path):
    short, long = (soft_teacher_real._burn_in(FEW_MORE, 0, tmp_path, steps) for steps in (800, 2400))
    assert short.work_dir == soft_teacher_real._burn_in(FEW_MORE, 0, tmp_path).work_dir != long.work_dir
    assert (short.config.train_cfg.max_iters, long.config.train_cfg.max_iters) == (800, 2400)
    training = soft_teacher_real._training(FEW_MORE, OURS, 1e-3, 0, tmp_path, 1200, burn_in=2400)
    assert training.config.load_from == str(long.work_dir / 'iter_2400.pth')


def test_more_seeds_get_splits_beside_those_that_are_there(tmp_path, monkeypatch):
    monkeypatch.setenv('OPENMSRA_DATA', str(tmp_path / 'data'))
    for name, part in (('deeppcb', 'train'), ('bccd', 'trainval')):
        folder = tmp_path / 'data' / name / 'annotations'
        folder.mkdir(parents=True)
        images = [dict(id=k, file_name=f'{k}.jpg', width=8, height=8) for k in range(200)]
        content = dict(images=images, annotations=[], categories=[dict(id=0, name='cell')])
        (folder / f'instances_{part}.json').write_text(json.dumps(content))
    out = tmp_path / 'splits'
    soft_teacher_real._write_splits(out, 2)
    before = {file: file.read_bytes() for file in out.rglob('images.*.json')}
    soft_teacher_real._write_splits(out, 4)
    assert {file: file.read_bytes() for file in before} == before
    assert len(list((out / 'bccd').glob('images.4@*'))) == 2
