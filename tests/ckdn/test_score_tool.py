"""Pairs are found by relative stem; images that cannot be scored are named; methods are compared on common images."""

import csv
import hashlib
import json
import os
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from openmsra import __version__
from openmsra.apis import init_model
from openmsra.ckdn import CKDN
from openmsra.ckdn.data.crops import cut, tile_offsets
from openmsra.ckdn.data.pairs import images_by_stem, match, method_folders, swap_signs
from openmsra.ckdn.data.transforms import check_pair, load_rgb
from openmsra.ckdn.inferencer import CKDNInferencer
from openmsra.ckdn.report.compare import compare_methods, paired_bootstrap
from openmsra.ckdn.report.maps import overlay
from openmsra.errors import CheckpointError, ImageError, PairError, ToolError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/ckdn/ckdn_r18_1xb8-2e_photos_instant.py'


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    model = CKDN(depth=18, base_channels=8, head_dim=64, imagenet_weights=None)
    model.init_weights()
    file = tmp_path_factory.mktemp('ckdn') / 'weights.pth'
    torch.save(dict(state_dict=model.state_dict()), file)
    return file


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """A degraded folder, and two methods that restored it, one with an image less."""
    rng, photo = np.random.default_rng(0), data.astronaut()
    for name, (top, left) in (('a', (0, 100)), ('x/b', (120, 60)), ('c', (60, 200))):
        pristine = photo[top : top + 200, left : left + 300]
        noisy = np.clip(pristine + rng.normal(0, 25, pristine.shape), 0, 255).astype(np.uint8)
        for folder, pixels in (('degraded', noisy), ('methods/copy', noisy), ('methods/clean', pristine)):
            file = tmp_path / folder / f'{name}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    return tmp_path / 'methods', tmp_path / 'degraded'


def score(checkpoint: Path, restored: Path, degraded: Path, out: Path, *options: str) -> dict:
    tool = runpy.run_path(str(ROOT / 'tools/ckdn_score.py'))['main']
    arguments = ['--config', CONFIG, '--restored', restored, '--degraded', degraded, '--out', out, '--workers', '0', *options]
    tool([str(argument) for argument in (checkpoint, *arguments)])
    return json.loads((out / 'scores.json').read_text())


def test_pairs_by_stem_and_orphans(tmp_path):
    for name in ('r/a.png', 'r/x/b.png', 'd/a.jpg', 'd/x/b.png', 'd/c.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    sides = [images_by_stem(tmp_path / side) for side in 'rd']
    with pytest.raises(PairError, match=r'c\.png.*--allow-missing'):
        match(*sides, False)
    assert [pair[1].name for pair in match(*sides, True).values()] == ['a.jpg', 'b.png']
    (tmp_path / 'd/a.png').touch()
    with pytest.raises(PairError, match='one stem'):
        images_by_stem(tmp_path / 'd')
    with pytest.raises(PairError, match='directly in it'):
        method_folders(tmp_path / 'd')


def test_images_that_cannot_be_scored(tmp_path):
    (tmp_path / 'text.png').write_text('no image')
    Image.new('RGBA', (20, 20)).save(tmp_path / 'alpha.png')
    Image.new('RGB', (1, 1)).save(tmp_path / 'tiny.png')
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / 'cut.png')
    (tmp_path / 'cut.png').write_bytes((tmp_path / 'cut.png').read_bytes()[:3000])
    Image.fromarray(np.zeros((20, 20), np.float32)).save(tmp_path / 'float.tif')
    with pytest.raises(ImageError, match=r'float\.tif.*8-bit'):
        load_rgb(tmp_path / 'float.tif')
    reasons = dict(text='not an image', alpha='transparent', tiny='1x1', cut='truncated', gone='no such')
    for name, reason in reasons.items():
        with pytest.raises(ImageError, match=rf'{name}\.png.*{reason}'):
            load_rgb(tmp_path / f'{name}.png')
    for mode in ('L', 'CMYK'):
        Image.new(mode, (20, 20)).save(tmp_path / f'{mode}.jpg')
        assert load_rgb(tmp_path / f'{mode}.jpg').mode == 'RGB'
    for mode in ('P', '1', 'LA', 'RGBA'):
        Image.new(mode, (20, 20), 255 if mode in 'P1' else (255,) * len(mode)).save(tmp_path / f'{mode}.png')
        assert load_rgb(tmp_path / f'{mode}.png').mode == 'RGB'
    with pytest.raises(ImageError, match='aspect ratio'):
        check_pair(Image.new('RGB', (40, 30)), Image.new('RGB', (30, 40)), 'a')


def test_methods_are_compared_and_reported(checkpoint, folders, tmp_path):
    report = score(checkpoint, *folders, tmp_path / 'out', '--method-dirs')
    assert [row['score'] for row in report['scores']] == sorted((row['score'] for row in report['scores']), reverse=True)
    assert report['comparison']['images'] == 3
    assert {row['method'] for row in report['comparison']['methods']} == {'copy', 'clean'}
    with (tmp_path / 'out/scores.csv').open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 6 and {row['height'] for row in rows} == {'200'} and {row['crop'] for row in rows} == {'center'}
    page = (tmp_path / 'out/scores.html').read_text()
    assert page.count('data:image/jpeg;base64,') == 12 and '<option>clean</option>' in page


def test_maps_show_where_the_restored_image_is_worst(checkpoint, folders, tmp_path):
    methods, degraded = folders
    score(checkpoint, methods / 'clean', degraded, tmp_path / 'out', '--maps')
    assert sorted(path.relative_to(tmp_path / 'out/maps').as_posix() for path in (tmp_path / 'out/maps').rglob('*.png')) == [
        'a.png',
        'c.png',
        'x/b.png',
    ]
    assert Image.open(tmp_path / 'out/maps/a.png').size == (300, 200)
    scores = np.full((20, 30), 0.6)
    scores[5:15, :10] = 0.3
    red, green = (np.asarray(overlay(Image.new('RGB', (300, 200), (99, 99, 99)), scores), float)[..., c] for c in (0, 1))
    assert (red > green)[60:140, 10:90].all() and (green > red)[:, 120:].all()


@pytest.mark.parametrize('suffix', ['pt', 'onnx'])
def test_exported_networks_score_the_same(checkpoint, tmp_path, suffix, capsys):
    tool = runpy.run_path(str(ROOT / 'tools/model_converters/ckdn_export.py'))['main']
    target = tmp_path / f'ckdn.{suffix}'
    tool([str(checkpoint), str(target), '--config', str(CONFIG), '--size', '96'])
    assert 'largest difference' in capsys.readouterr().out
    model, pixels = init_model(CONFIG, checkpoint), torch.randint(256, (2, 2, 3, 96, 96)).float()
    with torch.no_grad():
        expected = model(dict(zip(('restored', 'degraded'), map(model.data_preprocessor.stack, pixels), strict=True)))
    if suffix == 'pt':
        scores = torch.jit.load(target)(*pixels)
    else:
        session = pytest.importorskip('onnxruntime').InferenceSession(str(target))
        scores = torch.from_numpy(session.run(None, dict(restored=pixels[0].numpy(), degraded=pixels[1].numpy()))[0])
    assert (expected[0] - expected[1]).abs() > 1e-6
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)
    with pytest.raises(ToolError, match='must end in'):
        tool([str(checkpoint), str(tmp_path / 'ckdn.pth'), '--config', str(CONFIG)])


def test_broken_images_are_reported_after_the_others_are_written(checkpoint, folders, tmp_path):
    methods, degraded = folders
    (methods / 'clean/a.png').write_bytes(b'no image')
    with pytest.raises(ToolError, match=r'(?s)1 of 3 .*a\.png: not an image'):
        score(checkpoint, methods / 'clean', degraded, tmp_path / 'out')
    report = json.loads((tmp_path / 'out/scores.json').read_text())
    assert len(report['scores']) == 2 and len(report['failed']) == 1
    assert not (tmp_path / 'out/scores.jsonl').exists(), 'what was done, as long as the whole was not'


@pytest.mark.parametrize('crop', ['grid', 'whole'])
def test_crops_see_all_pixels_of_both_images(crop):
    photo = Image.fromarray(data.astronaut()).crop((0, 0, 500, 300))
    restored, degraded = cut(photo, photo.resize((250, 150)), crop)
    assert restored.shape == degraded.shape == ((6, 3, 288, 288) if crop == 'grid' else (1, 3, 300, 500))
    last = torch.from_numpy(np.array(photo)[-288:, -288:]).permute(2, 0, 1)
    torch.testing.assert_close(restored[-1, :, -288:, -288:], last)


def test_tiles_cover_the_border_without_gap():
    assert tile_offsets(288) == [0]
    assert tile_offsets(300) == [0, 12]
    assert tile_offsets(576) == [0, 144, 288]
    small, _ = cut(*[Image.new('RGB', (100, 40))] * 2, 'grid')
    assert small.shape[1:] == (3, 288, 288) and len(small) == len(tile_offsets(720))


def test_grid_is_the_mean_over_its_tiles_and_batches_do_not_matter(checkpoint, folders):
    methods, degraded = folders
    pairs = list(match(images_by_stem(methods / 'clean'), images_by_stem(degraded), False).values())
    inferencer = CKDNInferencer(CONFIG, checkpoint)
    rows = inferencer(pairs, crop='grid', batch_size=2)
    tiles = cut(*(load_rgb(file) for file in pairs[0]), 'grid')
    with torch.no_grad():
        logits = inferencer.model.score_logits(*map(inferencer.model.data_preprocessor.stack, tiles))
    assert rows[0]['logit'] == pytest.approx(float(logits.mean()), rel=1e-5)
    assert rows[0]['logit_p10'] == pytest.approx(float(logits.quantile(0.1)), rel=1e-5)
    assert rows[0]['tiles'] == len(logits) > 1
    alone = [inferencer([pair], crop='grid')[0]['logit'] for pair in pairs]
    assert [row['logit'] for row in rows] == pytest.approx(alone, rel=1e-5)
    assert inferencer(pairs, workers=1) == inferencer(pairs)


def test_the_inferencer_refuses_to_work_without_weights():
    with pytest.raises(CheckpointError, match='give a checkpoint'):
        CKDNInferencer(CONFIG, '')


def test_exchanged_folders_are_noticed(checkpoint, folders, tmp_path, capsys):
    methods, degraded = folders
    (methods / 'clean').rename(tmp_path / 'restored')
    score(checkpoint, degraded, tmp_path / 'restored', tmp_path / 'out')
    assert 'exchanged? the names say so' in capsys.readouterr().err
    score(checkpoint, tmp_path / 'restored', degraded, tmp_path / 'out')
    assert 'the names' not in capsys.readouterr().err
    rows = [dict(height=20, width=30, degraded_size=(60, 40), logit=0.0)] * 4
    assert 'larger' in swap_signs(Path('a'), Path('b'), rows, [-1.0] * 4)[0]
    rows = [dict(height=40, width=60, degraded_size=(60, 40), logit=0.0)] * 4
    assert swap_signs(Path('a'), Path('b'), rows, [1.0, 1.0, 1.0, -1.0]) == ['exchanged, 3 of 4 pairs score higher']
    assert swap_signs(Path('a'), Path('b'), rows, [1.0, 1.0, -1.0, -1.0]) == []


def test_identical_images_are_noticed(checkpoint, folders, tmp_path):
    methods, degraded = folders
    with pytest.warns(UserWarning, match='identical'):
        score(checkpoint, methods / 'copy', degraded, tmp_path / 'out')


def test_paired_bootstrap_and_common_images():
    rng = np.random.default_rng(0)
    scene = rng.normal(0, 10, 200)
    result = paired_bootstrap(scene + 1 + rng.normal(0, 0.1, 200), scene)
    assert result['low'] < result['difference'] < result['high'] and result['low'] > 0.9 and result['wins'] == 1
    assert paired_bootstrap(scene, scene) == dict(difference=0, low=0, high=0, wins=0.5)
    rows = [dict(method=m, image=i, score=s) for m, i, s in (('A', '1', 0.9), ('A', '2', 0.8), ('B', '1', 0.5), ('B', '3', 0.9))]
    result = compare_methods(rows)
    assert result['images'] == 1 and result['methods'][0] == dict(method='A', mean_score=0.9, mean_rank=1.0)
    assert result['pairs'][0]['difference'] == pytest.approx(0.4)
    with pytest.raises(ValueError, match='in common'):
        compare_methods(rows[1:3])


def test_sheet_holds_every_pair_in_order_and_escapes_names(tmp_path):
    from openmsra.ckdn.report.sheet import write_sheet

    rows = []
    for name, value in (('<b>', 0.75), ('plain', 0.5)):
        path = tmp_path / f'{name}.png'
        Image.new('RGB', (400, 200), (200, 30, 30)).save(path)
        rows.append(dict(restored=str(path), degraded=str(path), score=value))
    write_sheet(rows, tmp_path / 'sheet.html')
    text = (tmp_path / 'sheet.html').read_text(encoding='utf-8')
    assert text.index('0.7500') < text.index('0.5000')
    assert text.count('data:image/jpeg;base64,') == 4
    assert '<b>' not in text and '&lt;b&gt;.png' in text


def test_scores_name_what_they_were_made_with(checkpoint, folders, tmp_path):
    methods, degraded = folders
    report = score(checkpoint, methods / 'clean', degraded, tmp_path / 'new/folder')
    custody = dict(
        checkpoint=checkpoint.name,
        sha256=hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        config=CONFIG.name,
        version=__version__,
    )
    assert custody.items() <= report.items()
    with (tmp_path / 'new/folder/scores.csv').open() as stream:
        assert all(custody.items() <= row.items() for row in csv.DictReader(stream))


def test_a_name_that_is_no_utf8_costs_nothing(checkpoint, folders, tmp_path):
    methods, degraded = folders
    for folder in (methods / 'clean', degraded):
        shutil.copy(folder / 'a.png', os.fsdecode(bytes(folder) + b'/caf\xe9.png'))
    report = score(checkpoint, methods / 'clean', degraded, tmp_path / 'out')
    assert len(report['scores']) == 4 and not report['failed']
    assert 'caf' in (tmp_path / 'out/scores.csv').read_text(encoding='utf-8')
    assert (tmp_path / 'out/scores.html').read_text(encoding='utf-8').count('data:image/jpeg') == 8


def test_a_huge_or_a_cut_image_costs_its_own_score_only(checkpoint, folders, tmp_path):
    methods, degraded = folders
    for folder in (methods / 'clean', degraded):
        Image.new('L', (14_000, 13_000)).save(folder / 'huge.png')
        Image.fromarray(data.astronaut()).save(folder / 'half.jpg', quality=95)
    cut = (methods / 'clean/half.jpg').read_bytes()
    (methods / 'clean/half.jpg').write_bytes(cut[: len(cut) // 2])
    with pytest.raises(ToolError, match=r'(?s)2 of 5 .*half\.jpg: truncated.*huge\.png: more than'):
        score(checkpoint, methods / 'clean', degraded, tmp_path / 'out')
    assert len(json.loads((tmp_path / 'out/scores.json').read_text())['scores']) == 3


def test_a_turned_photograph_is_compared_upright(checkpoint, folders, tmp_path):
    """The degraded image as a camera stores it when it is held the wrong way round, and the same pixels stored upright."""
    methods, degraded = folders
    upright, turned = Image.open(degraded / 'a.png'), Image.Exif()
    turned[0x0112] = 3
    pairs = []
    for name, image, exif in (('upright', upright, Image.Exif()), ('turned', upright.rotate(180), turned)):
        image.save(tmp_path / f'{name}.png', exif=exif)
        pairs.append((methods / 'clean/a.png', tmp_path / f'{name}.png'))
    first, second = CKDNInferencer(CONFIG, checkpoint)(pairs)
    assert first['score'] == second['score']


def test_a_folder_for_results_that_cannot_be_made_is_refused_before_the_work(checkpoint, folders, tmp_path):
    methods, degraded = folders
    (tmp_path / 'file').touch()
    with pytest.raises(ToolError, match='file/out: no folder for results'):
        score(tmp_path / 'no_checkpoint.pth', methods / 'clean', degraded, tmp_path / 'file/out')
