"""Broken samples are replaced, counted and listed, each once, whatever is wrong with them; many of them end the run."""

import json
import random
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.evaluator import BaseMetric
from PIL import Image

from openmsra.common.video import read_frames
from openmsra.engine.data.samples import TRIES, SampleKey, Samples, failure
from openmsra.errors import AnnotationError, BrokenDataError
from openmsra.registry import DATASETS, METRICS, MODELS, TRANSFORMS
from tests.reliability import corrupt
from tests.reliability.killing import Heavy
from tests.reliability.runs import build

RESIZED = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(16, 16)), dict(type='ToInputs')]


@DATASETS.register_module()
class Files(BaseDataset):
    """The files of a folder, images through the pipeline, or frames 0, 2 and 4 of videos."""

    def load_data_list(self) -> list[dict]:
        return [dict(img_path=str(path)) for path in sorted(Path(self.data_root).iterdir())]

    def prepare_data(self, idx: int) -> dict:
        row = self.get_data_info(idx)
        if Path(row['img_path']).suffix in ('.avi', '.mp4', '.mkv'):
            return dict(inputs=torch.from_numpy(read_frames(row['img_path'], [0, 2, 4])).float().mean())
        return super().prepare_data(idx)


@TRANSFORMS.register_module()
class ToInputs:
    def __call__(self, results: dict) -> dict:
        return dict(inputs=torch.from_numpy(np.ascontiguousarray(results['img'])).float().mean())


def config(folder: Path, work_dir: Path, workers: int = 0, max_fraction: float = 1.0, epochs: int = 2) -> Config:
    return Config(
        dict(
            model=dict(type='Heavy', mebibytes=0.001),
            work_dir=str(work_dir),
            default_scope='openmsra',
            launcher='none',
            experiment_name=uuid.uuid4().hex,
            log_level='ERROR',
            resume=False,
            load_from=None,
            train_dataloader=dict(
                batch_size=8,
                num_workers=workers,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=dict(type='Files', data_root=str(folder), pipeline=RESIZED),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
            default_hooks=dict(broken_data=dict(type='BrokenDataHook', max_fraction=max_fraction, interval=5)),
            visualizer=dict(type='Visualizer', vis_backends=[]),
            randomness=dict(seed=0),
        )
    )


def whole_images(folder: Path, count: int) -> None:
    for number in range(count):
        Image.fromarray(np.full((20, 20, 3), number % 255, np.uint8)).save(folder / f'whole{number:03d}.png')


def listed(runner) -> dict[str, int]:
    """Path -> how often it was met, from the list of the run."""
    file = Path(runner.log_dir) / 'broken_train.txt'
    rows = [line.split('\t') for line in file.read_text().splitlines()[1:]]
    assert len({row[0] for row in rows}) == len(rows), 'each is listed once'
    return {row[0]: int(row[1]) for row in rows}


@pytest.mark.parametrize('rounds', [1, pytest.param(3, marks=pytest.mark.reliability)])
@pytest.mark.parametrize('workers', [0, 2])
def test_broken_images_and_videos_do_not_end_a_run_and_are_listed_once(tmp_path, workers, rounds):
    folder = tmp_path / 'data'
    folder.mkdir()
    corrupt.images(folder, rounds=rounds)
    corrupt.videos(folder, rounds=rounds)
    whole_images(folder, 40)
    runner = build(config(folder, tmp_path / 'work', workers))
    runner.train()
    dataset = runner.train_dataloader.dataset.dataset
    expected = {dataset.get_data_info(i)['img_path'] for i in range(len(dataset)) if failure(dataset, i)}
    found = listed(runner)
    # decord may read a stream that is damaged inside in one pass and not in the next
    assert {path for path in set(found) ^ expected if not path.endswith('.avi')} == set()
    assert len(expected) >= 50 * rounds
    assert min(times for path, times in found.items() if not path.endswith('.avi')) >= 2, 'met in both epochs, reported once'
    assert not any('whole0' in path for path in found)


def test_replacements_do_not_depend_on_workers(tmp_path):
    folder = tmp_path / 'data'
    folder.mkdir()
    whole_images(folder, 30)
    for number in (3, 4, 17):
        (folder / f'whole{number:03d}.png').write_bytes(b'')
    seen = []
    for workers in (0, 2):
        runner = build(config(folder, tmp_path / str(workers), workers))
        loader = runner.build_dataloader(runner.cfg.train_dataloader, seed=0)
        seen.append([batch['inputs'] for batch in loader])
    assert len(seen[0]) == 4
    for first, second in zip(*seen, strict=True):
        assert all(map(torch.equal, first, second))


@pytest.mark.parametrize(('broken', 'fraction', 'ends'), [(1, 0.01, False), (2, 0.01, True), (2, 0.02, False), (1, 0.0, True)])
def test_run_ends_beyond_the_fraction(tmp_path, broken, fraction, ends):
    folder = tmp_path / 'data'
    folder.mkdir()
    whole_images(folder, 100)
    for number in range(broken):
        (folder / f'whole{10 * number:03d}.png').write_bytes(b'broken')
    runner = build(config(folder, tmp_path / 'work', max_fraction=fraction, epochs=1))
    if ends:
        with pytest.raises(BrokenDataError, match=rf'{broken} of 100 samples of the train data cannot be read.*whole0\d0\.png'):
            runner.train()
    else:
        runner.train()
    assert len(listed(runner)) == broken


@MODELS.register_module()
class Predicting(Heavy):
    """Predicts nothing, once for each sample."""

    def forward(self, inputs, mode: str = 'loss') -> dict | list:
        return [{} for _ in inputs] if mode == 'predict' else super().forward(inputs, mode)


@METRICS.register_module()
class Mean(BaseMetric):
    """The mean of the inputs, so that a replacement would change it."""

    def process(self, data_batch, data_samples) -> None:
        self.results += [dict(value=float(value)) for value in data_batch['inputs']]

    def compute_metrics(self, results: list) -> dict:
        return dict(mean=sum(row['value'] for row in results) / len(results))


def _evaluated(folder: Path, work_dir: Path, **hook) -> Config:
    cfg = config(folder, work_dir, epochs=1)
    loader = {**cfg.train_dataloader, 'sampler': dict(type='DefaultSampler', shuffle=False)}
    for phase in ('val', 'test'):
        cfg[f'{phase}_dataloader'], cfg[f'{phase}_cfg'] = loader, dict(type=f'{phase.title()}Loop')
        cfg[f'{phase}_evaluator'] = dict(type='Mean')
    cfg.default_hooks.broken_data.update(hook)
    cfg.model.type = 'Predicting'
    return cfg


def test_test_over_replaced_samples_is_refused_unless_asked_for(tmp_path):
    folder = tmp_path / 'data'
    folder.mkdir()
    whole_images(folder, 20)
    (folder / 'whole003.png').write_bytes(b'')
    with pytest.raises(BrokenDataError, match=r'1 of 20 samples of the test data.*whole003\.png.*--allow-broken'):
        build(_evaluated(folder, tmp_path / 'refused')).test()
    metrics = build(_evaluated(folder, tmp_path / 'allowed', allow_broken=True)).test()
    assert list(metrics) == ['mean_with_1_replaced']
    (folder / 'whole003.png').unlink()
    assert build(_evaluated(folder, tmp_path / 'repaired')).test() == dict(mean=pytest.approx((190 - 3) / 19))


def test_validation_in_a_training_goes_on_and_says_how_many_were_replaced(tmp_path):
    folder = tmp_path / 'data'
    folder.mkdir()
    whole_images(folder, 20)
    (folder / 'whole003.png').write_bytes(b'')
    runner = build(_evaluated(folder, tmp_path / 'work'))
    runner.train()
    assert runner.message_hub.get_scalar('val/replaced_samples').current() == 1
    assert runner.message_hub.get_scalar('val/mean').current() > 0


def test_data_set_that_is_broken_throughout_ends_at_once_with_the_reason(tmp_path):
    whole_images(tmp_path, TRIES + 5)
    dataset = Samples(Files(data_root=str(tmp_path), pipeline=[lambda results: 1 / 0]))
    with pytest.raises(BrokenDataError, match=r'whole007\.png and 19 samples in its place.*ZeroDivisionError: division by zero'):
        dataset[SampleKey(7, (0, 0, 0))]


def test_substitute_comes_from_the_same_part(tmp_path):
    for name in ('labelled', 'unlabelled'):
        (tmp_path / name).mkdir()
        whole_images(tmp_path / name, 5)
        (tmp_path / name / 'whole003.png').write_bytes(b'')
    load, names = [dict(type='LoadImageFromFile')], ('labelled', 'unlabelled')
    guarded = Samples(ConcatDataset([Files(data_root=str(tmp_path / name), pipeline=load) for name in names]))
    for part in range(2):
        taken = {guarded[SampleKey(5 * part + 3, (0, 0, place))]['img_path'] for place in range(40)}
        assert taken == {str(tmp_path / ('labelled', 'unlabelled')[part] / f'whole00{i}.png') for i in (0, 1, 2, 4)}


def test_guard_leaves_the_rest_of_the_data_set_alone(tmp_path):
    whole_images(tmp_path, 3)
    guarded = Samples(Files(data_root=str(tmp_path), pipeline=[], metainfo=dict(classes=('a',))))
    assert guarded.metainfo['classes'] == ('a',)
    assert len(guarded) == 3
    guarded.extra = 5
    assert guarded.dataset.extra == 5
    with pytest.raises(AttributeError):
        guarded.nothing  # noqa: B018


def test_verify_dataset_lists_them_beforehand(tmp_path, run_tool):
    for scene in range(4):
        Image.new('RGB', (40, 40), (scene, 9, 9)).save(tmp_path / f'{scene}.png')
    (tmp_path / 'broken.jpg').write_bytes(b'no image')
    config = tmp_path / 'maskco_r50_1xb2-1e_broken.py'
    base = Path(__file__).parents[2] / 'configs/maskco/maskco_resnet50_8xb32-200e_in1k.py'
    config.write_text(f"_base_ = '{base}'\ntrain_dataloader = dict(dataset=dict(data_root='{tmp_path}', pipeline=[]))\n")
    done = run_tool('tools/analysis/verify_dataset.py', config, '--workers', '2', '--out', tmp_path / 'list.txt', check=False)
    assert done.returncode == 1, done.stderr
    assert '1 of 5 samples cannot be read.' in done.stdout
    assert (tmp_path / 'list.txt').read_text().startswith(f'{tmp_path}/broken.jpg\tImageError: ')


def _is_told(build_dataset, source: Path) -> None:
    """Odd annotations either make a data set or end in an error of one line that names the file."""
    try:
        dataset = build_dataset()
        failure(dataset, 0)
    except (AnnotationError, FileNotFoundError, ValueError) as error:
        assert str(error).count('\n') == 0, error
        assert str(source) in str(error) or str(source.parent) in str(error), error


def test_odd_annotations_of_clips(tmp_path):
    from openmsra.ftcn.data.clips import FaceClips

    frames = tmp_path / 'video'
    frames.mkdir()
    whole_images(frames, 2)
    row, source = dict(frames='video', label=0, method='real', split='val'), tmp_path / 'clips.jsonl'
    cases = list(corrupt.texts(row))
    for text in cases:
        source.write_text(text)
        _is_told(lambda: FaceClips(ann_file='clips.jsonl', data_root=str(tmp_path), split='val', pipeline=[]), source)
    assert len(cases) > 60
    source.write_text(json.dumps({**row, 'frames': '../../etc'}))
    with pytest.raises(AnnotationError, match='leads out of'):
        FaceClips(ann_file='clips.jsonl', data_root=str(tmp_path), split='val', pipeline=[])


def test_odd_lists_of_images(tmp_path):
    from openmsra.maskco.data.images import UnlabelledImages

    whole_images(tmp_path, 2)
    source = tmp_path / 'list.txt'
    rng = random.Random(0)
    for content in [
        b'',
        b'whole000.png',
        b'../../etc/passwd',
        b'/etc/passwd',
        b'a\0b',
        bytes(range(256)),
        b'x' * 5000,
        *(rng.randbytes(200) for _ in range(20)),
    ]:
        source.write_bytes(content)
        _is_told(lambda: UnlabelledImages(data_root=str(tmp_path), ann_file=str(source), pipeline=[]), source)
    source.write_text('whole000.png\n../secret.png\n')
    with pytest.raises(AnnotationError, match='leads out of'):
        UnlabelledImages(data_root=str(tmp_path), ann_file=str(source), pipeline=[])


def test_odd_architecture_files(tmp_path):
    from openmsra.autoformer.evaluation import resolve_subnets
    from openmsra.autoformer.space import SearchSpace

    space, source = SearchSpace.from_config('tiny'), tmp_path / 'arch.json'
    arch = space.smallest()
    for text in corrupt.texts(json.loads(json.dumps(arch))):
        source.write_text(text)
        try:
            resolve_subnets(space, [str(source)])
        except (AnnotationError, ValueError) as error:
            assert '\n' not in str(error)
