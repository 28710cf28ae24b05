"""Pairs are found by relative stem; images that cannot be scored are refused with their name."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openmsra.ckdn.transforms import ImageError, check_pair, load_rgb

TOOL = runpy.run_path(str(Path(__file__).resolve().parents[2] / 'tools/ckdn_score.py'))


def test_pairs_by_stem_and_orphans(tmp_path):
    for name in ('r/a.png', 'r/x/b.png', 'd/a.jpg', 'd/x/b.png', 'd/c.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    sides = [TOOL['images_by_stem'](tmp_path / side) for side in 'rd']
    with pytest.raises(ValueError, match=r'c\.png.*--allow-missing'):
        TOOL['match'](*sides, False)
    assert [pair[1].name for pair in TOOL['match'](*sides, True)] == ['a.jpg', 'b.png']


def test_images_that_cannot_be_scored(tmp_path):
    (tmp_path / 'text.png').write_text('no image')
    Image.fromarray(np.zeros((20, 20), np.uint16)).save(tmp_path / 'deep.png')
    Image.new('RGBA', (20, 20)).save(tmp_path / 'alpha.png')
    Image.new('RGB', (1, 1)).save(tmp_path / 'tiny.png')
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / 'cut.png')
    (tmp_path / 'cut.png').write_bytes((tmp_path / 'cut.png').read_bytes()[:3000])
    reasons = dict(text='not an image', deep='8 bits', alpha='transparent', tiny='1x1', cut='truncated', gone='no such')
    for name, reason in reasons.items():
        with pytest.raises(ImageError, match=rf'{name}\.png.*{reason}'):
            load_rgb(tmp_path / f'{name}.png')
    for mode in ('L', 'CMYK'):
        Image.new(mode, (20, 20)).save(tmp_path / f'{mode}.jpg')
        assert load_rgb(tmp_path / f'{mode}.jpg').mode == 'RGB'
    with pytest.raises(ImageError, match='aspect ratio'):
        check_pair(Image.new('RGB', (40, 30)), Image.new('RGB', (30, 40)), 'a')


def test_sheet_holds_every_pair_in_order_and_escapes_names(tmp_path):
    from openmsra.ckdn.sheet import write_sheet

    rows = []
    for name, score in (('<b>', 0.75), ('plain', 0.5)):
        path = tmp_path / f'{name}.png'
        Image.new('RGB', (400, 200), (200, 30, 30)).save(path)
        rows.append(dict(restored=str(path), degraded=str(path), score=score))
    write_sheet(rows, tmp_path / 'sheet.html')
    text = (tmp_path / 'sheet.html').read_text(encoding='utf-8')
    assert text.index('0.7500') < text.index('0.5000')
    assert text.count('data:image/jpeg;base64,') == 4
    assert '<b>' not in text and '&lt;b&gt;.png' in text
