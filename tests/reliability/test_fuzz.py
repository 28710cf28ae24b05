"""500 generated inputs: whatever they are, there is a result or a sentence for each; the seed of each is in its test's name.

python -m pytest -m reliability tests/reliability/test_fuzz.py -k 'images and 17'
"""

import io
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openmsra.errors import ConfigError, DataError, UserError

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(600)]

NAMES = [
    'plain', 'two words', '-dash', '#hash', '100%', "quo'te", 'naïve', '猫', 'a,b', '[x]', '{y}', 'semi;colon', 'new\nline',
    'tab\tbed',
    'x' * 240, 'dot.ted.name', 'UPPER', '*star', 'back\\slash', os.fsdecode(b'fen\xeatre'), '$HOME', '~', '&and', 'emoji😀',
]  # fmt: skip
FORMATS = {
    '.jpg': ('L', 'RGB', 'CMYK'), '.JPEG': ('RGB',), '.jfif': ('RGB',), '.bmp': ('L', 'RGB', 'P'), '.webp': ('RGB', 'RGBA'),
    '.png': ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16'), '.tif': ('L', 'RGB', 'CMYK', 'F', 'I;16', 'RGBA'),
    '.gif': ('P', 'L'), '.ppm': ('RGB',), '.pgm': ('L', 'I;16'), '.tga': ('RGB', 'RGBA'),
}  # fmt: skip
PIL_FORMAT = {'.jpg': 'JPEG', '.jpeg': 'JPEG', '.jfif': 'JPEG', '.tif': 'TIFF', '.ppm': 'PPM', '.pgm': 'PPM'}
READABLE = {'1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK', 'I;16'}  # modes that are read; F and I are refused


def _picture(rng: random.Random, mode: str) -> Image.Image:
    width, height = rng.choice([(1, 1), (1, 40), (400, 2), (33, 47), (64, 64), (17, 90), (300, 3)])
    values = np.random.default_rng(rng.getrandbits(32))
    if mode in ('I;16', 'I', 'F'):
        kind = {'I;16': np.uint16, 'I': np.int32, 'F': np.float32}[mode]
        return Image.fromarray(values.integers(0, 60000, (height, width)).astype(kind))
    return (
        Image.fromarray(values.integers(0, 255, (height, width, 4), np.uint8))
        .convert('RGB' if mode == 'CMYK' else mode)
        .convert(mode)
    )


def _damaged(rng: random.Random, content: bytes) -> tuple[bytes, bool]:
    """The content, perhaps cut, changed or exchanged, and whether it is still whole."""
    kind = rng.choice(['whole'] * 5 + ['cut', 'flipped', 'empty', 'text', 'zeros'])
    if kind == 'cut':
        content = content[: rng.randrange(len(content))]
    elif kind == 'flipped':
        content = bytearray(content)
        for _ in range(rng.randint(1, 20)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        content = bytes(content)
    elif kind in ('empty', 'text', 'zeros'):
        content = dict(empty=b'', text='Größe'.encode() * 20, zeros=bytes(300))[kind]
    return content, kind == 'whole'


def _image_folder(folder: Path, rng: random.Random, count: int) -> dict[str, bool]:
    """Names of generated images and whether they must be readable."""
    folder.mkdir(parents=True)
    expected = {}
    for number in range(count):
        suffix = rng.choice(list(FORMATS))
        mode = rng.choice(FORMATS[suffix])
        stream, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = rng.randint(1, 8)
        extra = dict(exif=exif) if suffix.lower() in ('.jpg', '.png', '.webp') and rng.random() < 0.5 else {}
        picture = _picture(rng, mode)
        picture.save(stream, PIL_FORMAT.get(suffix.lower(), suffix[1:].upper()), **extra)
        content, whole = _damaged(rng, stream.getvalue())
        name = f'{number}{rng.choice(NAMES)}{suffix}'
        (folder / name).write_bytes(content)
        # of longer strips a side is nothing when they are scaled: a row with an error
        strip = max(picture.size) > 60 * min(picture.size)
        expected[str(folder / name)] = whole and mode in READABLE and not strip
    (folder / '._hidden.jpg').write_bytes(b'0')
    (folder / 'notes.txt').write_text('no image', encoding='utf-8')
    return expected


@pytest.fixture(scope='module')
def inferencers(tmp_path_factory) -> dict:
    """The six inferencers with random weights."""
    from openmsra.apis import init_inferencer, init_model, list_models

    folder, made = tmp_path_factory.mktemp('weights'), {}
    resized = [
        dict(type='LoadImageFromFile', color_type='grayscale'),
        dict(type='mmpretrain.Resize', scale=(8, 8)),
        dict(type='mmpretrain.PackInputs'),
    ]
    options = dict(
        autoformer=dict(arch='largest', cfg_options={'test_dataloader.dataset.pipeline': resized}), ftcn=dict(min_frames=2)
    )
    for name in list_models('*_instant'):
        config = next(Path('configs').glob(f'*/{name}.py'))
        torch.manual_seed(0)
        torch.save(dict(state_dict=init_model(config).state_dict(), meta={}), folder / f'{name}.pth')
        made[config.parent.name] = init_inferencer(config, folder / f'{name}.pth', **options.get(config.parent.name, {}))
    return made


@pytest.mark.parametrize('seed', range(13))
def test_images(seed, inferencers, tmp_path):
    """Folders of 12 images: 156 inputs, each through four inferencers."""
    expected = _image_folder(tmp_path / 'images', random.Random(seed), 12)
    for paper in ('autoformer', 'maskco', 'soft_teacher', 'ckdn'):
        smallest = 8 if paper == 'ckdn' else 1
        try:
            if paper == 'ckdn':
                rows = inferencers[paper]([(name, name) for name in sorted(expected)], out_file=tmp_path / 'ckdn.jsonl')
                names, lines = (
                    [row['restored'] for row in rows],
                    (tmp_path / 'ckdn.jsonl').read_text(encoding='utf-8').splitlines(),
                )
            else:
                rows = inferencers[paper](tmp_path / 'images', out_dir=tmp_path / paper)
                names, lines = (
                    [row['image'] for row in rows],
                    (tmp_path / paper / 'results.jsonl').read_text(encoding='utf-8').splitlines(),
                )
        except DataError as error:
            assert not any(expected.values()) and 'none of the' in str(error)
            continue
        assert sorted(names) == sorted(expected) and len(lines) == len(rows)  # nothing dropped, nothing twice
        assert all(isinstance(json.loads(line), dict) for line in lines)
        for row, name in zip(rows, names, strict=True):
            if expected[name] and smallest == 1:
                assert 'error' not in row, row
            assert isinstance(row.get('error', ''), str)


def _video(file: Path, rng: random.Random) -> int:
    """A generated video; returns its number of frames."""
    import av

    codec = {
        '.mp4': ['mpeg4', 'libx264'],
        '.avi': ['mpeg4', 'mjpeg'],
        '.mkv': ['mpeg4', 'mjpeg', 'libx264'],
        '.mov': ['mpeg4'],
        '.ts': ['mpeg2video'],
    }
    count, values = rng.randint(1, 30), np.random.default_rng(rng.getrandbits(32))
    size = rng.choice([(16, 16), (64, 48), (48, 64), (176, 144)])
    with av.open(str(file), 'w') as container:
        stream = container.add_stream(
            rng.choice(codec[file.suffix]), rate=25 if file.suffix == '.ts' else rng.choice([5, 24, 25, 30, 60])
        )
        stream.width, stream.height = size
        stream.pix_fmt = 'yuvj420p' if stream.codec_context.name == 'mjpeg' else 'yuv420p'
        picture = values.integers(0, 255, (size[1], size[0], 3), np.uint8)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, number, 1), format='rgb24')
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return count


@pytest.mark.parametrize('seed', range(16))
def test_videos(seed, inferencers, tmp_path):
    """Folders of 4 videos: 64 inputs through both inferencers of videos."""
    from openmsra.common.video import VideoFile, list_videos

    rng, expected = random.Random(1000 + seed), {}
    (tmp_path / 'videos').mkdir()
    for number in range(4):
        suffix = rng.choice(['.mp4', '.avi', '.mkv', '.mov', '.ts'])
        count = _video(tmp_path / f'plain{suffix}', rng)
        content, whole = _damaged(rng, (tmp_path / f'plain{suffix}').read_bytes())
        name = tmp_path / 'videos' / f'{number}{rng.choice(NAMES)}{suffix}'
        name.write_bytes(content)
        expected[str(name)] = count if whole else None
    assert sorted(map(str, list_videos(tmp_path / 'videos'))) == sorted(expected)
    backend = rng.choice(['decord', 'pyav', 'opencv'])
    for name, count in expected.items():
        try:
            frames = list(VideoFile(name, backend))
            assert count is None or len(frames) == count, (name, backend)
            result = inferencers['ftcn'](VideoFile(name, backend), name)
            assert len(result.times) == len(frames) and all(np.diff(result.times) > 0)
            assert all(frame.shape[2:] == (3,) for frame, _ in frames)
        except UserError as error:
            assert count is None, error
    try:
        rows = inferencers['mcn'](tmp_path / 'videos', out_dir=tmp_path / 'mcn')
    except DataError:
        assert not any(expected.values())
        return
    assert [row['video'] for row in rows] == sorted(expected)
    assert len((tmp_path / 'mcn/results.jsonl').read_text(encoding='utf-8').splitlines()) == len(rows)
    assert not [row for row in rows if 'error' in row and expected[row['video']]]


ODD = [None, True, -1, 0, 1.5, 1e400, 'text', '', [], {}, [[]], 2**70, 'nan', ['a'], {'id': 1}]


def _mutated(value, rng: random.Random, rate: float):
    """JSON with values exchanged, removed or doubled."""
    if rng.random() < rate:
        return rng.choice(ODD)
    if isinstance(value, dict):
        return {key: _mutated(child, rng, rate) for key, child in value.items() if rng.random() > rate / 2}
    if isinstance(value, list):
        children = [_mutated(child, rng, rate) for child in value if rng.random() > rate / 2]
        return children + children[-1:] if rng.random() < rate else children
    return value


def _coco() -> dict:
    images = [dict(id=k, file_name=f'{k}.png', width=60, height=40) for k in range(4)]
    boxes = [dict(id=k, image_id=k // 2, category_id=1 + k % 2, bbox=[5, 5, 20, 20], area=400, iscrowd=0) for k in range(8)]
    return dict(images=images, annotations=boxes, categories=[dict(id=1, name='cat'), dict(id=2, name='dog')])


@pytest.mark.parametrize('seed', range(120))
def test_annotation_files(seed, tmp_path):
    """A COCO file through the data sets of two papers and the split tool."""
    from openmsra.maskco.data.probe_data import CocoRegions
    from openmsra.soft_teacher.data.datasets import LabelledCoco
    from openmsra.soft_teacher.data.splits import Plan, read_coco, write_splits

    rng = random.Random(2000 + seed)
    for k in range(4):
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / f'{k}.png')
    text = json.dumps(_mutated(_coco(), rng, rng.choice([0, 0.005, 0.02, 0.1])))
    text = text[: rng.randrange(len(text))] if rng.random() < 0.1 else text
    file = tmp_path / 'boxes.json'
    file.write_text(text, encoding=rng.choice(['utf-8', 'utf-8-sig', 'utf-16']))
    common = dict(data_root=str(tmp_path), ann_file=str(file), pipeline=[])
    readers = [
        lambda: LabelledCoco(metainfo=dict(classes=('cat', 'dog')), **common),
        lambda: CocoRegions(bank=True, size=32, min_side=1, boxes=1, **common),
        lambda: write_splits(read_coco(file), 'boxes', tmp_path / 'out', Plan(counts=[1], folds=1)),
    ]
    for read in readers:
        try:
            done = read()
        except UserError as error:
            assert str(error)
            continue
        if isinstance(done, list):
            assert done[0]['images'] == 1 and done[1]['images'] == len(json.loads(text)['images']) - 1
        else:
            assert len(done) <= 4 and [done.get_data_info(k) for k in range(len(done))]


LISTS = {
    'list.txt': 'a.mp4 0\nb c.mp4 1 Deepfakes train\nd.mp4 1 x test\n',
    'clips.jsonl': '{"frames": null, "video": "v", "label": 0, "method": "m", "split": "test"}\n' * 3,
    'videos.txt': 'a/x.avi 0\na/y z.avi 1\nb/x.avi 1\n',
    'kinetics.csv': 'label,youtube_id,time_start,time_end,split\nabseiling,x,1,11,train\nski jump,y,0,10,train\n',
    'classInd.txt': '1 Apply\n2 Archery\n',
    'boxes.json': '[[{"box": [1, 2, 30, 40]}], [{"box": [1, 2, 30, 40], "landmarks": [[1, 2], [1, 2], [1, 2], [1, 2], [1, 2]]}]]',
    'images.txt': 'a.jpg\nb c.jpg\td\n',
    'voc.xml': '<annotation><filename>a.jpg</filename><size><width>9</width><height>9</height></size><object><name>cat</name>'
    '<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></object></annotation>',
    'labels.csv': 'filename,label\na.mp4,0\nb.mp4,1\n',
    'A0001.txt': 'A0001_00_00.bmp,1520.0648\nA0001_00_01.bmp,1320.5\n',
    'dmos.csv': 'dist_img,ref_img,dmos,var\nI01_01_01.png,I01.png,4.57,0.4\n',
    'calibration.json': '{"threshold": 0.5, "slope": 1.0, "offset": 0.0, "figures": {}, "provenance": {}}',
}  # fmt: skip


def _read(name: str, folder: Path):
    from openmsra.ckdn.data import fr_datasets, pipal
    from openmsra.ftcn.calibration import Calibration
    from openmsra.ftcn.data.clips import FaceClips
    from openmsra.ftcn.faces import detectors, layouts
    from openmsra.maskco.data.images import UnlabelledImages
    from openmsra.mcn.data import splits, videos
    from openmsra.soft_teacher.data.splits import read_voc

    file = folder / name
    readers = {
        'list.txt': lambda: layouts.plain_list(folder),
        'labels.csv': lambda: layouts.dfdc(folder),
        'clips.jsonl': lambda: FaceClips(str(file), 'test', [], data_root=str(folder)),
        'videos.txt': lambda: videos.VideoClips(str(file), str(folder), []),
        'kinetics.csv': lambda: splits.kinetics(file),
        'classInd.txt': lambda: splits.ucf101(folder, 1),
        'boxes.json': lambda: detectors.boxes_from_json(file),
        'images.txt': lambda: UnlabelledImages(str(folder), [], str(file)),
        'voc.xml': lambda: read_voc(folder),
        'A0001.txt': lambda: pipal.PIPALDataset(str(folder), 'train', [], val_scenes=0),
        'dmos.csv': lambda: fr_datasets.FRLabelDataset(str(folder), 'kadid10k', 'train', []),
        'calibration.json': lambda: Calibration.load(
            file, dict(detector='x', sha256='y', stride=1, aggregate='max', min_face=1, min_frames=1)
        ),
    }
    return readers[name]()


@pytest.mark.parametrize('seed', range(12))
def test_converters(seed, tmp_path):
    """Folders of odd names through the converters: what they write is read again and holds each readable file once."""
    import openmsra.autoformer  # noqa: F401 - bridges mmpretrain
    from openmsra.common.annotations import read_text
    from openmsra.registry import DATASETS
    from tests.test_rules import load_tool

    rng = random.Random(5000 + seed)
    expected = {}
    for name in ('cat', *rng.sample([name for name in NAMES if len(name) < 50], 2)):
        expected |= _image_folder(tmp_path / 'images/train' / name, rng, 4)
    root = tmp_path / 'images/train'
    relative = {str(Path(name).relative_to(root)): whole for name, whole in expected.items()}

    left = _left_out(lambda: load_tool('dataset_converters.image_sizes').main([str(root), '--out', str(tmp_path / 'sizes.txt')]))
    listed = [line.split('\t') for line in read_text(tmp_path / 'sizes.txt').splitlines()]
    assert all(len(row) == 3 and int(row[1]) > 0 and int(row[2]) > 0 for row in listed)
    assert len(listed) + left == len(relative) and {row[0] for row in listed} <= relative.keys()

    split = load_tool('dataset_converters.imagenet_search_split')
    left = _left_out(lambda: split.main([str(tmp_path / 'images'), '--per-class', '1']), ConfigError)
    lists = [tmp_path / f'images/meta/search_{side}.txt' for side in ('train', 'val')]
    if all(file.is_file() for file in lists):
        sets = [DATASETS.get('mmpretrain.CustomDataset')(data_root=str(root), ann_file=str(file), pipeline=[]) for file in lists]
        read = [row['img_path'] for dataset in sets for row in dataset]
        assert len(read) == len(set(read)) and len(read) + left == len(relative) and all(Path(file).is_file() for file in read)

    videos = {}
    for number in range(3):
        _video(tmp_path / 'plain.avi', rng)
        content, whole = _damaged(rng, (tmp_path / 'plain.avi').read_bytes())
        name = f'{number}{rng.choice([name for name in NAMES if name.isprintable()])}.avi'
        videos[name] = whole
        (tmp_path / 'faces').mkdir(exist_ok=True)
        (tmp_path / 'faces' / name).write_bytes(content)
    lines = ''.join(f'{name} {number % 2} x train\n' for number, name in enumerate(videos))
    (tmp_path / 'faces/list.txt').write_text(lines, encoding='utf-8')
    cut = load_tool('dataset_converters.ftcn_faces')
    _left_out(lambda: cut.main(['list', str(tmp_path / 'faces'), '--detector', 'none', '--size', '32', '--min-frames', '1']))
    broken = json.loads((tmp_path / 'faces/broken.json').read_text(encoding='utf-8'))
    clips = [json.loads(line) for line in (tmp_path / 'faces/clips.jsonl').read_text(encoding='utf-8').splitlines()]
    assert {row['video'] for row in clips} | set(broken) == set(videos)
    assert not [name for name in broken if videos[name]], broken


def _left_out(work, *kinds: type[Exception]) -> int:
    """How many inputs a tool says that it has left out; all of them where it ends with another sentence of ``kinds``."""
    try:
        work()
    except DataError as error:
        return int(str(error).split()[0])
    except kinds:
        return 0
    return 0


@pytest.mark.parametrize('seed', range(108))
def test_lists(seed, tmp_path):
    """Lists and tables with letters changed, lines doubled or cut, in several encodings."""
    rng = random.Random(3000 + seed)
    name = list(LISTS)[seed % len(LISTS)]
    text = list(LISTS[name])
    for _ in range(rng.choice([0, 1, 3, 12])):
        place = rng.randrange(len(text))
        text[place] = rng.choice(['', ' ', '\n', ',', '"', '\0', '-', '../', '9' * 30, 'é', '{', text[place] * 2, '\t', '1'])
    content = ''.join(text)
    content = content.replace('\n', '\r\n') if rng.random() < 0.2 else content
    (tmp_path / 'Train_Label').mkdir()
    for number in (1, 2):
        (tmp_path / f'trainlist0{number}.txt').write_text('Apply/v_Apply_g08_c01.avi 1\n', encoding='utf-8')
        (tmp_path / f'testlist0{number}.txt').write_text('Archery/v_Archery_g01_c01.avi\n', encoding='utf-8')
    where = tmp_path / 'Train_Label' / name if name.startswith('A0') else tmp_path / name
    where.write_text(content, encoding=rng.choice(['utf-8', 'utf-8', 'utf-8-sig', 'latin-1' if content.isascii() else 'utf-8']))
    try:
        _read(name, tmp_path)
    except UserError as error:
        assert str(error)


@pytest.mark.parametrize('seed', range(52))
def test_options(seed):
    """A value is read or refused in a sentence; text without brackets, quotes or numbers stays as it is, letter by letter."""
    from openmsra.engine.config.options import parse_value

    rng = random.Random(4000 + seed)
    for _ in range(50):
        text = ''.join(rng.choice('ab Z.,/\\-_~é猫#%=:;&$') for _ in range(rng.randint(1, 30)))
        if any(letter.isalpha() for letter in text) and text.strip().lower() not in ('true', 'false', 'none'):
            assert parse_value(text) == text
        odd = ''.join(rng.choice('a1,=:[](){}\'" dict(-.e') for _ in range(rng.randint(0, 12)))
        try:
            parse_value(odd)
        except ConfigError as error:
            assert str(error)
