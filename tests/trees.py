"""Data trees of the published layouts: tiny, but with the names, formats, label files and image sizes of the real ones.

``plant(folder)`` writes all of them below ``folder/data``, at the places where the configs look, so that a config runs unchanged
with ``folder`` as the working directory. Every other function writes one data set below the root that it is given. Pictures and
videos are few and hard-linked under their many names: what a data set needs in number (1000 classes, 982 images of LIVE) costs
nothing.
"""

import csv
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
# the 80 categories of COCO have the ids 1 to 90 without these
COCO_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_IDS = [number for number in range(1, 91) if number not in COCO_GAPS]
COCO_NAMES = (
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat', 'traffic light', 'fire hydrant',
    'stop sign', 'parking meter', 'bench', 'bird', 'cat', 'dog', 'horse', 'sheep', 'cow', 'elephant', 'bear', 'zebra', 'giraffe',
    'backpack', 'umbrella', 'handbag', 'tie', 'suitcase', 'frisbee', 'skis', 'snowboard', 'sports ball', 'kite', 'baseball bat',
    'baseball glove', 'skateboard', 'surfboard', 'tennis racket', 'bottle', 'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl',
    'banana', 'apple', 'sandwich', 'orange', 'broccoli', 'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch',
    'potted plant', 'bed', 'dining table', 'toilet', 'tv', 'laptop', 'mouse', 'remote', 'keyboard', 'cell phone', 'microwave',
    'oven', 'toaster', 'sink', 'refrigerator', 'book', 'clock', 'vase', 'scissors', 'teddy bear', 'hair drier', 'toothbrush',
)  # fmt: skip
PIPAL_VERSIONS = {0: 12, 1: 16, 2: 10, 3: 24, 4: 13, 5: 14, 6: 27}
LIVE_COUNTS = dict(jp2k=227, jpeg=233, wn=174, gblur=174, fastfading=174)
FFPP_METHODS = ('Deepfakes', 'Face2Face', 'FaceSwap', 'NeuralTextures', 'FaceShifter', 'DeeperForensics')
FFPP_PAIRS = dict(train=('000', '003'), val=('010', '011'), test=('020', '021'))
VOC_CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable', 'dog',
               'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor')  # fmt: skip


def plant(folder: Path, only: set[str] | None = None) -> Path:
    """All trees below ``folder/data`` and a link to the configs; ``only`` names some of :data:`TREES`."""
    for name, write in TREES.items():
        if only is None or name in only:
            write(folder / 'data' / name)
    for name in ('configs', 'tools'):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    return folder


class Pictures:
    """Pictures of a size, format and number, made once below ``root`` and hard-linked from then on."""

    def __init__(self) -> None:
        self.made: dict[tuple, Path] = {}

    def __call__(self, file: Path, size: tuple[int, int], number: int = 0) -> Path:
        """Write or link ``file``; ``size`` is (width, height). Its suffix is its format."""
        file.parent.mkdir(parents=True, exist_ok=True)
        key = size, number, file.suffix.lower()
        if key not in self.made:
            written = file.with_suffix(file.suffix.lower().replace('.jpeg', '.jpg'))
            if not cv2.imwrite(str(written), pattern(size, number)):
                raise OSError(f'{written}: cannot be written')
            if written != file:
                written.rename(file)
            self.made[key] = file
        elif not file.exists():
            os.link(self.made[key], file)
        return file


def pattern(size: tuple[int, int], number: int) -> np.ndarray:
    """A smooth picture (H, W, 3) that differs with ``number``: compresses like a photograph, holds edges and texture."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 255, (7, 9, 3), np.uint8)
    image = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(image + rng.integers(-12, 12, image.shape), 0, 255).astype(np.uint8)


def imagenet(root: Path, classes: int = 1000, per_class: int = 2) -> None:
    """``train/n.../n..._1.JPEG``, ``val/n.../ILSVRC2012_val_00000001.JPEG`` and ``meta/val.txt``, as mmpretrain lays it out.

    ``meta/search_train.txt`` and ``meta/search_val.txt`` are what the search of AutoFormer reads. One picture in eight is
    upright, one is small: ImageNet holds some of a few dozen pixels.
    """
    picture, lines, searched = Pictures(), [], dict(train=[], val=[])
    sizes = [(500, 375), (500, 333), (375, 500), (500, 375), (500, 400), (320, 240), (500, 375), (75, 56)]
    for label in range(classes):
        name = f'n{1440764 + 97 * label:08d}'
        for i in range(per_class):
            kind = (label + i) % len(sizes)
            picture(root / 'train' / name / f'{name}_{i + 1}.JPEG', sizes[kind], kind)
            searched['val' if i == 0 else 'train'].append(f'{name}/{name}_{i + 1}.JPEG {label}')
        if label < 8 or label % 100 == 0:
            file = f'{name}/ILSVRC2012_val_{label + 1:08d}.JPEG'
            picture(root / 'val' / file, sizes[label % len(sizes)], label % len(sizes))
            lines.append(f'{file} {label}')
    write_lines(root / 'meta/val.txt', lines)
    for split, rows in searched.items():
        write_lines(root / f'meta/search_{split}.txt', rows)


def cifar10(root: Path) -> None:
    """``cifar-10-batches-py``: five pickles for training, one for the test, and the names; with checksums of their own.

    Beside it the same as folders of classes, ``train/class0/0000.png``.
    """
    picture = Pictures()
    for part in ('train', 'test'):
        for label in range(10):
            picture(root / part / f'class{label}' / '0000.png', (32, 32), label % 3)
    folder = root / 'cifar-10-batches-py'
    for number, name in enumerate([*(f'data_batch_{i}' for i in range(1, 6)), 'test_batch']):
        _pickle(folder / name, dict(data=_small_images(8, number), labels=[i % 10 for i in range(8)]))
    _pickle(folder / 'batches.meta', dict(label_names=[f'class{i}' for i in range(10)]))


def camvid(root: Path) -> None:
    """``images/PART/NAME.png`` and ``masks/PART/NAME.png``, maps of class numbers; ``PART.txt``."""
    picture, grid = Pictures(), np.arange(480)[None] // 40
    for part in ('train', 'val', 'test'):
        for number in range(3):
            picture(root / 'images' / part / f'{part}_{number}.png', (480, 360), number)
            mask = root / 'masks' / part / f'{part}_{number}.png'
            mask.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(mask), np.repeat(np.roll(grid, 40 * number, 1), 360, 0).astype(np.uint8))
        write_lines(root / f'{part}.txt', [f'{part}_{number}' for number in range(3)])


def bsds500(root: Path) -> None:
    """``images/PART/NAME.jpg``, and beside it the scenes that ``ckdn_versions.py`` makes of them, of noise."""
    picture, rng, arrays = Pictures(), np.random.default_rng(0), {}
    for part in ('train', 'val', 'test'):
        for number in range(2):
            picture(root / 'images' / part / f'{part}_{number}.jpg', (481, 321), number)
        shape = dict(pristine=(2,), degraded=(2,), restored=(2, 3))
        arrays |= {f'{part}_{name}': rng.integers(0, 255, (*s, 48, 48, 3), np.uint8) for name, s in shape.items()}
        arrays |= {f'{part}_label': rng.uniform(0.4, 0.8, (2, 3)).astype(np.float32)}
        arrays |= {f'{part}_photograph': np.array(['a', 'b']), f'{part}_degradation': np.array(['noise', 'blur'])}
    np.savez(root / 'versions.npz', **arrays)


def sr4kiqa(root: Path) -> None:
    """What ``download_data.py`` makes of it: ``pairs.csv``, ``restored``, ``degraded``, ``reference``; two scenes without one."""
    picture, rng = Pictures(), np.random.default_rng(0)
    lines = ['name,scene,method,scale,mos,mos_norm,split,fold,crop,y,x,restored,degraded,reference,psnr']
    for number in range(8):
        scene, split = f'Scene{number + 1}', 'test' if number in (1, 4) else 'train'
        reference = f'reference/{scene}_c0.jpg' if number < 6 else ''
        if reference:
            picture(root / reference, (384, 384), number)
        for scale in (2, 4):
            degraded = f'degraded/{scene}_x{scale}_c0.png'
            picture(root / degraded, (384 // scale, 384 // scale), number)
            for method in ('Bicubic', 'EDSR', 'NN'):
                name, mos = f'{scene}_{method}_x{scale}', round(rng.uniform(1, 5), 1)
                picture(root / f'restored/{name}_c0.jpg', (384, 384), 8 + number % 3)
                row = [f'{name}.jpg', scene, method, scale, mos, round((mos - 1) / 4, 3), split, number % 4, 0, 24 * number, 48]
                row += [f'restored/{name}_c0.jpg', degraded, reference, round(18 + 3 * mos, 3) if reference else '']
                lines.append(','.join(map(str, row)))
    write_lines(root / 'pairs.csv', lines)


def fir_actions(root: Path) -> None:
    """``full/*.mp4`` with their lists and ``clips/ACTION/*.mp4`` with theirs; the names tell the recording."""
    lists, actions = dict(train=[], test=[]), ('fall', 'fallen', 'liedown', 'sit', 'sitdown', 'sleeping', 'standup', 'walk')
    recordings = []
    for number, part in enumerate(('train', 'train', 'test')):
        recording = f'2020062{number}_000000_01'
        video(root / f'full/{recording}.mp4', (160, 120), 400, number)  # 8 pieces, with 8 clips a group of 16
        recordings.append((f'full/{recording}.mp4', 400, part))
        for label, action in enumerate(actions):
            video(root / f'clips/{action}/{recording}_{label:02d}.mp4', (160, 120), 24, 8 * number + label)
            lists[part].append(f'clips/{action}/{recording}_{label:02d}.mp4 {label}')
    write_lines(root / 'classes.txt', actions)
    write_lines(root / 'full.txt', [' '.join(map(str, row)) for row in recordings])
    write_lines(root / 'recordings_train.txt', [path for path, _, part in recordings if part == 'train'])
    for part, lines in lists.items():
        write_lines(root / f'list_{part}.txt', lines)


def small_coco(root: Path, files: tuple[str, ...], classes: tuple[str, ...]) -> None:
    """``images/NAME.png`` and annotation files of COCO's form that hold all of them."""
    picture, images, boxes = Pictures(), [], []
    for number in range(1, 5):
        picture(root / f'images/{number}.png', (320, 320), number)
        images.append(dict(id=number, file_name=f'images/{number}.png', width=320, height=320))
        box = dict(image_id=number, category_id=1 + number % len(classes), bbox=[40, 60, 50, 30], area=1500, iscrowd=0)
        boxes.append(box | dict(id=number))
    names = [dict(id=i + 1, name=name) for i, name in enumerate(classes)]
    for file in files:
        path = root / 'annotations' / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dict(images=images, annotations=boxes, categories=names)))


def deeppcb(root: Path) -> None:
    """What ``download_data.py`` makes of it."""
    parts = [f'semi_1@1_{kind}.json' for kind in ('labeled', 'unlabeled')]
    small_coco(
        root,
        ('instances_train.json', 'instances_test.json', *parts),
        ('open', 'short', 'mousebite', 'spur', 'copper', 'pin-hole'),
    )


def bccd(root: Path) -> None:
    """What ``download_data.py`` and ``split_coco_semi.py`` make of it."""
    parts = [f'semi_supervised/instances_trainval.1@15img{kind}.json' for kind in ('', '-unlabeled')]
    small_coco(root, ('instances_trainval.json', 'instances_test.json', *parts), ('RBC', 'WBC', 'Platelets'))


def cifar100(root: Path) -> None:
    """``cifar-100-python``: ``train``, ``test`` and ``meta``."""
    folder = root / 'cifar-100-python'
    for number, name in enumerate(('train', 'test')):
        _pickle(folder / name, dict(data=_small_images(8, number), fine_labels=[13 * i % 100 for i in range(8)]))
    _pickle(folder / 'meta', dict(fine_label_names=[f'class{i}' for i in range(100)]))


def _small_images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (count, 3072), np.uint8)


def _pickle(file: Path, content: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps(content))


def stanford_cars(root: Path) -> None:
    """``cars_train``, ``cars_test`` and the MATLAB files of ``devkit``."""
    import mat4py

    picture = Pictures()
    for split, file in dict(train='cars_train_annos', test='cars_test_annos_withlabels').items():
        names = [f'{i + 1:05d}.jpg' for i in range(4)]
        for i, name in enumerate(names):
            picture(root / f'cars_{split}' / name, (600, 400), i)
        (root / 'devkit').mkdir(exist_ok=True)
        mat4py.savemat(str(root / f'devkit/{file}.mat'), dict(annotations={'fname': names, 'class': [1, 50, 100, 196]}))


def flowers102(root: Path) -> None:
    """``jpg/image_00001.jpg``, ``imagelabels.mat`` and ``setid.mat``."""
    import mat4py

    picture = Pictures()
    for i in range(12):
        picture(root / f'jpg/image_{i + 1:05d}.jpg', (591, 500), i % 3)
    mat4py.savemat(str(root / 'imagelabels.mat'), dict(labels=[1 + 9 * i for i in range(12)]))
    mat4py.savemat(str(root / 'setid.mat'), dict(trnid=[1, 4, 7, 10], valid=[2, 5, 8, 11], tstid=[3, 6, 9, 12]))


def oxford_pets(root: Path) -> None:
    """``images`` and ``annotations/{trainval,test}.txt``: name, class, species, breed."""
    picture = Pictures()
    for split, first in dict(trainval=1, test=100).items():
        names = [f'Abyssinian_{first + i}' if i % 2 else f'yorkshire_terrier_{first + i}' for i in range(4)]
        for i, name in enumerate(names):
            picture(root / f'images/{name}.jpg', (400, 500), i)
        write_lines(root / f'annotations/{split}.txt', [f'{name} {1 if i % 2 else 37} 1 1' for i, name in enumerate(names)])


def coco(root: Path, images: int = 24) -> None:
    """``{train,val,unlabeled}2017``, ``annotations`` in the official format, and the splits of fold 1 at 1, 2, 5 and 10 %.

    As in the official files the images are not sorted by id, category ids have gaps, some images have no annotation and one
    holds a crowd. The unlabelled set comes in both forms: ``image_info_unlabeled2017.json`` and what our tool makes of it.
    """
    picture = Pictures()
    rng = np.random.default_rng(0)
    categories = [dict(id=number, name=name, supercategory='thing') for number, name in zip(COCO_IDS, COCO_NAMES, strict=True)]
    files = {}
    for split, count in dict(train=images, val=4, unlabeled=8).items():
        rows = []
        for i, number in enumerate(rng.permutation(np.arange(9, 9 + 7 * count, 7)).tolist()):
            size = [(640, 480), (480, 640), (640, 427)][i % 3]
            picture(root / f'{split}2017/{number:012d}.jpg', size, i % 4)
            rows.append(dict(id=number, file_name=f'{number:012d}.jpg', width=size[0], height=size[1], license=1))
        annotations = [box for i, row in enumerate(rows) if i % 12 != 5 for box in _coco_boxes(row, i, rng)]
        for number, row in enumerate(annotations):
            row['id'] = 1000 + number
        files[split] = dict(images=rows, annotations=annotations, categories=categories, licenses=[dict(id=1)], info={})
    (root / 'annotations/semi_supervised').mkdir(parents=True)
    for split in ('train', 'val'):
        _json(root / f'annotations/instances_{split}2017.json', files[split])
    _json(root / 'annotations/image_info_unlabeled2017.json', {k: v for k, v in files['unlabeled'].items() if k != 'annotations'})
    _json(root / 'annotations/instances_unlabeled2017.json', dict(files['unlabeled'], annotations=[]))
    for percent in (1, 2, 5, 10):  # of 24 images less than one: four are labelled in every split, each with boxes
        with_boxes = {row['image_id'] for row in files['train']['annotations']}
        known = {row['id'] for row in [row for row in files['train']['images'] if row['id'] in with_boxes][:4]}
        for suffix, keep in (('', True), ('-unlabeled', False)):
            part = {
                key: [row for row in files['train'][key] if (row['id' if key == 'images' else 'image_id'] in known) == keep]
                for key in ('images', 'annotations')
            }
            _json(root / f'annotations/semi_supervised/instances_train2017.1@{percent}{suffix}.json', files['train'] | part)


def _coco_boxes(image: dict, number: int, rng: np.random.Generator) -> list[dict]:
    rows = []
    for k in range(3):
        width, height = rng.uniform(0.2, 0.5) * image['width'], rng.uniform(0.2, 0.5) * image['height']
        x, y = rng.uniform(0, image['width'] - width), rng.uniform(0, image['height'] - height)
        box = [round(float(value), 2) for value in (x, y, width, height)]
        x, y, width, height = box
        outline = [x, y, x + width, y, x + width, y + height, x, y + height]
        row = dict(
            image_id=image['id'], category_id=COCO_IDS[(7 * number + 11 * k) % 80], bbox=box, area=width * height, iscrowd=0
        )
        rows.append(dict(row, segmentation=[outline]))
    if number == 0:
        size = [image['height'], image['width']]
        whole = dict(counts=[0, size[0] * size[1]], size=size)
        rows.append(dict(rows[0], segmentation=whole, bbox=[0, 0, size[1], size[0]], area=size[0] * size[1], iscrowd=1))
    return rows


def voc(root: Path) -> None:
    """``VOC2007`` and ``VOC2012`` below ``VOCdevkit``: ``JPEGImages``, ``Annotations``, ``ImageSets/Main``."""
    picture = Pictures()
    for year, splits in dict(VOC2007=('trainval', 'test'), VOC2012=('trainval',)).items():
        for split in splits:
            names = [f'{"2008_" if year == "VOC2012" else ""}{k + (5 if split == "test" else 0):06d}' for k in range(1, 5)]
            write_lines(root / year / f'ImageSets/Main/{split}.txt', names)
            for k, name in enumerate(names):
                picture(root / year / f'JPEGImages/{name}.jpg', (500, 375), k)
                (root / year / 'Annotations').mkdir(exist_ok=True)
                (root / year / f'Annotations/{name}.xml').write_text(_voc_xml(name, VOC_CLASSES[3 * k : 3 * k + 2]))


def _voc_xml(name: str, classes: tuple[str, ...]) -> str:
    objects = ''.join(
        f'<object><name>{kind}</name><pose>Left</pose><truncated>0</truncated><difficult>0</difficult>'
        f'<bndbox><xmin>{50 + 150 * k}</xmin><ymin>60</ymin><xmax>{190 + 150 * k}</xmax><ymax>300</ymax></bndbox></object>'
        for k, kind in enumerate(classes)
    )
    size = '<size><width>500</width><height>375</height><depth>3</depth></size>'
    return f'<annotation><folder>VOC</folder><filename>{name}.jpg</filename>{size}{objects}</annotation>'


def cc3m(root: Path) -> None:
    """``train.tsv``: a name and a caption a line; a few of the downloads are missing, one in a hundred is no image."""
    picture, lines = Pictures(), []
    for i in range(100):
        name = f'{i:08d}.jpg'
        lines.append(f'{name}\ta photograph of the number {i}')
        if i == 50:
            write_lines(root / 'images' / name, ['<html>410 Gone</html>'])
        elif i % 10 != 9:
            picture(root / 'images' / name, [(640, 480), (320, 240), (1024, 683)][i % 3], i % 3)
    write_lines(root / 'train.tsv', lines)


def pipal(root: Path, scenes: int = 54, versions: dict[int, int] | None = None, size: int = 288) -> None:
    """``Train_Ref``, ``Train_Label``, ``Train_Dist`` and ``Train_Degraded``; BMP of 288 pixels, Elo scores."""
    picture, rng = Pictures(), np.random.default_rng(0)
    for number in range(scenes):
        scene, lines = f'A{number + 1:04d}', []
        picture(root / f'Train_Ref/{scene}.bmp', (size, size), 0)
        for kind, count in (versions or dict.fromkeys(PIPAL_VERSIONS, 3)).items():
            for k in range(count):
                name = f'{scene}_{kind:02}_{k:02}.bmp'
                picture(root / 'Train_Dist' / name, (size, size), 1 + k % 3)
                picture(root / 'Train_Degraded' / f'ref_{name}', (size, size), 4)
                lines.append(f'{name},{rng.uniform(917, 1835):.4f}')
        write_lines(root / f'Train_Label/{scene}.txt', lines)


def kadid10k(root: Path) -> None:
    """``dmos.csv`` and ``images/I01_01_01.png`` of 512 x 384 pixels."""
    picture, lines = Pictures(), ['dist_img,ref_img,dmos,var']
    for scene in (f'I{i:02d}' for i in range(1, 6)):
        picture(root / f'images/{scene}.png', (512, 384), 0)
        for level in range(1, 6):
            picture(root / f'images/{scene}_01_{level:02d}.png', (512, 384), level)
            lines.append(f'{scene}_01_{level:02d}.png,{scene}.png,{5 - 0.8 * level:.2f},0.1')
    write_lines(root / 'dmos.csv', lines)


def tid2013(root: Path) -> None:
    """``mos_with_names.txt``, ``reference_images/I01.BMP``, ``distorted_images/i01_01_1.bmp``; the archive mixes the case."""
    picture, lines = Pictures(), []
    for i in range(1, 6):
        picture(root / f'reference_images/{"i" if i == 5 else "I"}{i:02d}.BMP', (512, 384), 0)
        for level in range(1, 6):
            picture(root / f'distorted_images/{"I" if i == 2 else "i"}{i:02d}_01_{level}.bmp', (512, 384), level)
            lines.append(f'{6.5 - level:.5f} i{i:02d}_01_{level}.bmp')
    write_lines(root / 'mos_with_names.txt', lines)


def live(root: Path) -> None:
    """Release 2: all 982 images in five folders, ``refimgs``, ``dmos_realigned.mat``, ``refnames_all.mat``."""
    from scipy.io import savemat

    picture, references, names, copies = Pictures(), [f'scene{i}.bmp' for i in range(5)], [], []
    for k, name in enumerate(references):
        picture(root / 'refimgs' / name, (640, 512), k)
    for kind, count in LIVE_COUNTS.items():
        for number in range(1, count + 1):
            picture(root / kind / f'img{number}.bmp', (640, 512), 5 + number % 3)
            names.append(references[number % 5])
            copies.append(int(number % 30 == 0))
    scores = np.random.default_rng(0).uniform(0, 100, len(names))
    savemat(root / 'dmos_realigned.mat', dict(dmos_new=scores[None], orgs=np.array(copies)[None]))
    savemat(root / 'refnames_all.mat', dict(refnames_all=np.array(names, object)[None]))


def csiq(root: Path) -> None:
    """``csiq.DMOS.csv``, ``src_imgs/1600.png``, ``dst_imgs/AWGN/1600.AWGN.1.png``."""
    picture, lines = Pictures(), ['image,dst_idx,dst_type,dst_lev,dmos_std,dmos']
    kinds = {'noise': 'AWGN', 'blur': 'BLUR', 'jpeg 2000': 'jpeg2000'}
    for scene in ('1600', 'aerial_city', 'boston', 'bridge', 'butter_flower'):
        picture(root / f'src_imgs/{scene}.png', (512, 512), 0)
        for k, (kind, folder) in enumerate(kinds.items()):
            for level in (1, 2, 3):
                picture(root / f'dst_imgs/{folder}/{scene}.{folder}.{level}.png', (512, 512), level)
                lines.append(f'{scene},{k + 1},{kind},{level},0.05,{0.25 * level:.3f}')
    write_lines(root / 'csiq.DMOS.csv', lines)


def video(file: Path, size: tuple[int, int] = (320, 240), frames: int = 40, number: int = 0) -> Path:
    """A video of a pan over a picture; the codec follows the suffix (XviD-like MJPG in ``.avi``, mp4v in ``.mp4``)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    wide = pattern((width + 2 * frames, height), number)
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*('mp4v' if file.suffix == '.mp4' else 'MJPG')), 25, size)
    for k in range(frames):
        writer.write(np.ascontiguousarray(wide[:, 2 * k : 2 * k + width]))
    writer.release()
    return file


class Videos:
    """Videos made once and hard-linked, as :class:`Pictures`."""

    def __init__(self) -> None:
        self.made: dict[tuple, Path] = {}

    def __call__(self, file: Path, size: tuple[int, int], frames: int, number: int) -> Path:
        key = size, frames, number, file.suffix
        if key not in self.made:
            self.made[key] = video(file, size, frames, number)
        elif not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            os.link(self.made[key], file)
        return file


def ucf101(root: Path) -> None:
    """``videos/CLASS/v_CLASS_g01_c01.avi`` (320 x 240), ``ucfTrainTestlist`` and our lists of split 1; 20 of 101 classes."""
    film = Videos()
    classes = [f'Class{i:03d}' for i in range(101)]
    write_lines(root / 'ucfTrainTestlist/classInd.txt', [f'{i + 1} {name}' for i, name in enumerate(classes)])
    sides = dict(train=range(8, 12), test=range(1, 3))
    for side, groups in sides.items():
        rows = [(f'{name}/v_{name}_g{group:02d}_c01.avi', i) for i, name in enumerate(classes) if i % 5 == 0 for group in groups]
        for path, label in rows:
            film(root / 'videos' / path, (320, 240), [48, 29][label % 2], label % 3)  # some are shorter than a clip
        official = [f'{path} {label + 1}' if side == 'train' else path for path, label in rows]
        for split in (1, 2, 3):
            write_lines(root / f'ucfTrainTestlist/{side}list{split:02d}.txt', official)
        write_lines(root / f'ucf101_{side}_split_1_videos.txt', [f'{path} {label}' for path, label in rows])


def hmdb51(root: Path) -> None:
    """``videos/CLASS/NAME.avi`` (heights of 240), ``testTrainMulti_7030_splits`` and our lists; names hold odd signs."""
    film, sides = Videos(), dict(train=[], test=[])
    for i, name in enumerate(f'class{i:02d}' for i in range(51)):
        lines = []
        for k in range(4):
            path = f'{name}/Some (odd) name #{k} [{name}]_u_cm_np1_fr_med_{k}.avi'
            if i % 5 == 0:
                film(root / 'videos' / path, [(320, 240), (416, 240)][k % 2], 40, k % 2)
                sides['train' if k < 3 else 'test'].append(f'{path} {i}')
            lines.append(f'{path.partition("/")[2]} {1 if k < 3 else 2}')
        for split in (1, 2, 3):
            write_lines(root / f'testTrainMulti_7030_splits/{name}_test_split{split}.txt', lines)
    for side, rows in sides.items():
        write_lines(root / f'hmdb51_{side}_split_1_videos.txt', rows)


def kinetics400(root: Path) -> None:
    """``videos_train/LABEL/ID_START_END.mp4`` (340 x 256), ``train.csv`` and our list; 40 of 400 classes."""
    film, rows, lines = Videos(), [], []
    for i in range(0, 400, 10):
        label, number = f'class {i:03d}', f'id-_{i:07d}'
        rows.append([label, number, 10, 20, 'train', 0])
        lines.append(f'{label}/{number}_000010_000020.mp4 {i}')
        film(root / 'videos_train' / lines[-1].rpartition(' ')[0], (340, 256), 60, i % 3)
    with (root / 'train.csv').open('w', newline='') as stream:
        csv.writer(stream).writerows([['label', 'youtube_id', 'time_start', 'time_end', 'split', 'is_cc'], *rows])
    write_lines(root / 'kinetics400_train_videos.txt', lines)


def ffpp_raw(root: Path, methods: tuple[str, ...] = FFPP_METHODS, make: Callable[[Path], object] | None = None) -> None:
    """FaceForensics++ as handed out (c23, with FaceShifter and DeeperForensics): one pair of ids in each split.

    Args:
        make: writes a video; default: an empty file, which is enough for what only lists them.
    """
    for split, pair in FFPP_PAIRS.items():
        _json(root / f'splits/{split}.json', [list(pair)])
    for path in ffpp_videos(methods):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        make(root / path) if make else (root / path).write_bytes(b'')


def ffpp_videos(methods: tuple[str, ...] = FFPP_METHODS) -> list[str]:
    """Paths of all videos of :func:`ffpp_raw`."""
    paths = []
    for a, b in FFPP_PAIRS.values():
        paths += [f'original_sequences/youtube/c23/videos/{name}.mp4' for name in (a, b)]
        for method in methods:
            names = (f'{a}_W004', f'{b}_W009') if method == 'DeeperForensics' else (f'{a}_{b}', f'{b}_{a}')
            paths += [f'manipulated_sequences/{method}/c23/videos/{name}.mp4' for name in names]
    return paths


def celebdf_raw(root: Path, make: Callable[[Path], object] | None = None) -> None:
    """Celeb-DF v2 as handed out; in ``List_of_testing_videos.txt`` 1 means real."""
    tests = ['1 Celeb-real/id0_0001.mp4', '1 YouTube-real/00170.mp4', '0 Celeb-synthesis/id0_id1_0001.mp4']
    write_lines(root / 'List_of_testing_videos.txt', tests)
    for path in [line.partition(' ')[2] for line in tests] + ['Celeb-real/id2_0000.mp4', 'Celeb-synthesis/id2_id3_0000.mp4']:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        make(root / path) if make else (root / path).write_bytes(b'')


def dfdc_raw(root: Path, make: Callable[[Path], object] | None = None) -> None:
    """The test set of DFDC: ``test_videos`` and ``labels.csv``."""
    names = dict(aaaa=0, bbbb=1, cccc=1, dddd=0)
    write_lines(root / 'labels.csv', ['filename,label', *(f'{name}.mp4,{label}' for name, label in names.items())])
    for name in names:
        path = root / f'test_videos/{name}.mp4'
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path) if make else path.write_bytes(b'')


def ffpp(root: Path) -> None:
    """What ``ftcn_faces.py`` makes of FF++: loose crops of 36 frames with ``track.npz``, and ``clips.jsonl``."""
    from openmsra.ftcn.faces.layouts import ffpp as layout

    ffpp_raw(root / 'raw')
    _prepared(root, layout(root / 'raw'))


def celebdf(root: Path) -> None:
    """Prepared crops of Celeb-DF v2."""
    from openmsra.ftcn.faces.layouts import celebdf as layout

    celebdf_raw(root / 'raw')
    _prepared(root, layout(root / 'raw'))


def dfdc(root: Path) -> None:
    """Prepared crops of the DFDC test set; in one of its videos no face was found."""
    from openmsra.ftcn.faces.layouts import dfdc as layout

    dfdc_raw(root / 'raw')
    _prepared(root, layout(root / 'raw'), faceless={'test_videos/cccc.mp4'})


def faces(root: Path) -> None:
    """``list.csv`` and small square videos: 6 people to train, 2 to test, a clip of each generator; no face is in them."""
    film, lines = Videos(), ['path,label,method,identity,split,frames']
    people = ('person00', 'person01', 'person05', 'person09', 'person16', 'person22', 'person03', 'person04')
    for number, person in enumerate(people):
        film(root / f'real/{number:03d}.avi', (112, 112), 40, number % 3)
        lines.append(f'real/{number:03d}.avi,0,real,{person},{"train" if number < 6 else "test"},40')
    for number, method in enumerate(('edtalk', 'aniportrait', 'sadtalker')):
        film(root / f'{method}/{number:03d}.avi', (112, 112), 36, 3)
        lines.append(f'{method}/{number:03d}.avi,1,{method},person{30 + number},test,36')
    write_lines(root / 'list.csv', lines)


def _prepared(root: Path, rows: list[dict], faceless: set[str] = frozenset()) -> None:
    """The converter's own functions cut the faces of one real and one fake pan; all other videos are links to these."""
    from openmsra.ftcn.faces.prepare import clip_lines, crops_of, prepare_video

    made, lines = {}, []
    for row in rows:
        folder = root / crops_of(row['video'])
        if row['video'] in faceless:
            lines += clip_lines(row, dict(tracks=[]))
            continue
        if row['label'] not in made:
            frames, faces = _face_pan(fake=bool(row['label']))
            made[row['label']] = folder, prepare_video(frames, folder, faces)
        else:
            shutil.copytree(made[row['label']][0], folder, copy_function=os.link)
        lines += clip_lines(row, made[row['label']][1])
    write_lines(root / 'clips.jsonl', [json.dumps(line) for line in lines])


def _face_pan(fake: bool, count: int = 36) -> tuple[list, list]:
    """Frames of 640 x 480 and their given faces: an ellipse with two eyes that moves; the fake one flickers."""
    from openmsra.ftcn.faces.align import landmarks_of_box
    from openmsra.ftcn.faces.detectors import Face

    frames, faces, ground = [], [], pattern((640, 480), 3)
    for k in range(count):
        image, x = ground.copy(), 240 + 2 * k
        cv2.ellipse(image, (x + 80, 220), (80, 105), 0, 0, 360, (200, 160, 140 + 40 * (fake and k % 2)), -1)
        for eye in (x + 45, x + 115):
            cv2.circle(image, (eye, 190), 10, (40, 30, 30), -1)
        box = np.array([x, 115, x + 160, 325], float)
        frames.append((image, k / 25))
        faces.append([Face(box, landmarks_of_box(box), 1.0)])
    return frames, faces


def write_lines(file: Path, lines: list[str]) -> None:
    """Text with one line for each entry."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')


def _json(file: Path, content: dict | list) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding='utf-8')


# name below data/, as the configs have it -> what writes it
TREES: dict[str, Callable[[Path], None]] = {
    'imagenet': imagenet,
    'bccd': bccd,
    'bsds500': bsds500,
    'camvid': camvid,
    'cifar10': cifar10,
    'cifar100': cifar100,
    'deeppcb': deeppcb,
    'fir_actions': fir_actions,
    'sr4kiqa': sr4kiqa,
    'stanford_cars': stanford_cars,
    'flowers102': flowers102,
    'oxford_pets': oxford_pets,
    'coco': coco,
    'VOCdevkit': voc,
    'cc3m': cc3m,
    'PIPAL': pipal,
    'kadid10k': kadid10k,
    'tid2013': tid2013,
    'live': live,
    'csiq': csiq,
    'ucf101': ucf101,
    'hmdb51': hmdb51,
    'kinetics400': kinetics400,
    'ffpp': ffpp,
    'celebdf': celebdf,
    'dfdc': dfdc,
    'faces': faces,
}
