"""The demonstration goes on where a paper fails, and its pictures show what the runs have found."""

import importlib.util
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from openmsra.demo import run
from openmsra.demo.page import Section
from openmsra.demo.papers import autoformer, ckdn, ftcn, mcn, soft_teacher
from openmsra.demo.stage import Findings, Stage, StepError
from openmsra.errors import ToolError
from openmsra.resources import PAPERS, config_files

ROOT = Path(__file__).resolve().parents[2]
MODULES = {paper: importlib.import_module(f'openmsra.demo.papers.{paper}') for paper in PAPERS}


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location('demo_tool', ROOT / 'tools' / 'demo.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_paper_has_a_demonstration_of_a_config_that_is_there():
    assert set(run.ORDER) == set(PAPERS)
    for paper, module in MODULES.items():
        assert config_files()[module.CONFIG].parent.name == paper
        full = module.EXHIBIT.full_command.split()
        assert full[0] == 'tools/dist_train.sh' and (ROOT / full[1]).is_file()
        sentences = module.EXHIBIT.sentences.rstrip('.').split('. ')
        assert len(sentences) == 2, f'{paper}: {len(sentences)} sentences'


def test_a_failed_command_keeps_its_last_words(tmp_path):
    stage, said = Stage('ckdn', tmp_path / 'ckdn', lambda what: said.append(what)), []
    with pytest.raises(StepError, match="`openmsra lst` ended with exit code 2.*\nerror: no command is called 'lst'"):
        stage.run('list', 'lst')
    assert stage.commands == ['openmsra lst'] and said == ['list']
    assert "no command is called 'lst'" in stage.log.read_text()


def test_one_paper_that_fails_does_not_cost_the_page(tmp_path, monkeypatch, tool, capsys):
    good = Findings('90 %', 'right', 'Guessing: 10 %.', '<svg></svg>', 'A curve.', [], 'A toy.')

    def broken(stage: Stage) -> Findings:
        raise RuntimeError('the disk is on fire')

    monkeypatch.setattr(MODULES['mcn'], 'show', lambda stage: good)
    monkeypatch.setattr(MODULES['ckdn'], 'show', broken)
    monkeypatch.setattr(run, 'operators_fault', lambda: 'missing')
    with pytest.raises(SystemExit) as end:
        tool.main(['ckdn', 'mcn', 'soft_teacher', '--work-dir', str(tmp_path)])
    assert end.value.code == 1
    page, said = (tmp_path / 'report.html').read_text(encoding='utf-8'), capsys.readouterr().out
    assert '90 %' in page and 'RuntimeError: the disk is on fire' in page and 'compiled operators' in page
    assert 'FAILED' in said and str(tmp_path / 'report.html') in said
    tool.main(['mcn', 'soft_teacher', '--work-dir', str(tmp_path)])  # a skipped one is no failure
    with pytest.raises(ToolError, match="no paper is called 'mnc'.*mcn"):
        tool.main(['mnc'])


def test_sections_keep_the_order_of_the_papers(tmp_path, monkeypatch):
    monkeypatch.setattr(run, 'section_of', lambda paper, folder, started: Section(paper, MODULES[paper].EXHIBIT, problem='none'))
    sections = run.demonstrate(['mcn', 'autoformer', 'ckdn'], tmp_path, 2, tmp_path / 'page.html')
    assert [section.paper for section in sections] == ['autoformer', 'ckdn', 'mcn']


def test_mistakes_come_first_among_the_digits(tmp_path):
    rows = [dict(img_id=k, pred_label=3, gt_label=3 if k % 10 else 4) for k in range(40)]
    (tmp_path / 'p.pkl').write_bytes(pickle.dumps(rows))
    picture = autoformer.digits(tmp_path / 'p.pkl', 90.0)
    assert 'All 4 mistakes among 40' in picture.caption and '30 scanned digits' in picture.alt and '4 answers' in picture.alt


def test_forged_frames_flicker_and_the_others_do_not(tmp_path):
    from openmsra.common.images import read_rgb
    from openmsra.ftcn.faces.detectors import HaarDetector

    ftcn.write_video(tmp_path / 'video')
    frames = np.stack([read_rgb(file) for file in sorted((tmp_path / 'video').iterdir())]).astype(float)
    jumps = np.abs(np.diff(frames[:, 60:140, 70:150].mean((1, 2, 3))))
    inside, outside = jumps[ftcn.FORGED.start : ftcn.FORGED.stop - 1], jumps[: ftcn.FORGED.start - 1]
    assert len(frames) == ftcn.FRAMES and np.median(inside) > 5 * np.median(outside)
    assert len(HaarDetector()(frames[0].astype(np.uint8))) == 1


def test_scores_are_those_of_the_face_that_is_seen_longest(tmp_path):
    rows = ['frame,track,score', '0,0,0.1', '1,0,0.2', '1,1,0.9', '2,0,0.3']
    (tmp_path / '0000_video.csv').write_text('\n'.join(rows))
    (tmp_path / 'results.csv').write_text('video,score\n')
    assert ftcn.read_scores(tmp_path) == ([0, 1, 2], [0.1, 0.2, 0.3])


def test_ranking_says_whether_it_is_the_true_one(tmp_path):
    restored, degraded, errors = ckdn.write_pictures(tmp_path / 'pictures')
    best = sorted(errors, key=errors.get)
    assert best[0] == 'smoothed' and best[-1] == 'not restored' and (degraded / 'photo.png').is_file()
    for order, verdict in ((best, 'which is the true order'), (best[::-1], 'the true order is smoothed')):
        lines = [f'{name},{-rank}' for rank, name in enumerate(order)]
        (tmp_path / 'scores.csv').write_text('\n'.join(['method,score', *lines]))
        assert verdict in ckdn.ranking(restored, tmp_path, errors).caption


def test_neighbours_are_those_of_the_features(tmp_path):
    count, labels = mcn.COUNT, np.arange(mcn.COUNT) % 8
    features = np.eye(8)[labels] + 0.01
    stored = {f'{role}_feature': features for role in ('query', 'gallery')} | {
        f'{role}_label': labels for role in ('query', 'gallery')
    }
    names = {'query_video': [f'test/{k:05d}' for k in range(count)], 'gallery_video': [f'train/{k:05d}' for k in range(count)]}
    np.savez(tmp_path / 'features.npz', **stored, **names)
    picture = mcn.neighbours(tmp_path / 'features.npz')
    assert '8 of 8 show the same motion' in picture.alt and 'right, left, down' in picture.caption


def test_boxes_are_drawn_from_a_score_on(tmp_path):
    from openmsra.common.images import write_rgb

    write_rgb(tmp_path / 'a.png', np.full((96, 96, 3), 90, np.uint8))
    image = dict(id=1, file_name=str(tmp_path / 'a.png'))
    images = dict(images=[image, dict(image, id=2)], categories=[dict(id=1, name='red')])
    boxes = [dict(image_id=1, category_id=1, bbox=[10, 20, 30, 30], score=score) for score in (0.9, 0.5, 0.2)]
    (tmp_path / 'images.json').write_text(json.dumps(images))
    (tmp_path / 'results.json').write_text(json.dumps(boxes))
    assert 'has drawn 2 boxes' in soft_teacher.detections(tmp_path).alt
