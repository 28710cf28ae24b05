"""Samples a second of one data worker, beside the loaders of the libraries:  python benchmarks/loading.py [PAPER ...]

    autoformer     ImageNet, DeiT's augmentation: mmpretrain's DeiT recipe
    maskco         ImageNet, two views: mmpretrain's MoCo v2 recipe
    soft_teacher   COCO, labelled and unlabelled images: mmdet's Soft Teacher recipe
    ckdn           the four images of a sample: PIL and torchvision, with the official preprocessing
    mcn            four clips of a video, decoded, cropped, resized and flipped: mmaction2's transforms;
                   ten clips of the test at one reading: ten readings
    ftcn           a clip of a face: mmaction2's transforms for frames (ours aligns each frame too)

Each row is our published recipe against the peer on the same files and on one thread, in turns. The photographs are those that
scikit-learn and scikit-image ship, as JPEG files of the sizes of ImageNet (500 x 375) and COCO (640 x 480); videos pan over a
picture.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, Compose
from mmengine.hub import get_config
from mmengine.registry import DefaultScope

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.timing import interleaved, ratio  # noqa: E402
from openmsra import compat  # noqa: E402
from openmsra.engine.config.files import load_config  # noqa: E402
from openmsra.miniatures.photographs import load_photo  # noqa: E402
from openmsra.registry import DATASETS  # noqa: E402
from tests import trees  # noqa: E402

PHOTOS = ('china', 'flower', 'astronaut', 'coffee', 'chelsea', 'motorcycle', 'rocket')
CLASSES = 80
UCF101, KINETICS = 'mcn_r2plus1d-18_8xb8-300e_ucf101.py', 'mcn_r2plus1d-18_8xb32-200e_k400.py'
TEN = 'finetune_r2plus1d-18_8xb4-100e_ucf101.py'
Load = Callable[[int], object]
Row = tuple[str, str, Load, Load]  # what, the peer, ours, theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('papers', nargs='*', choices=[*PAPERS, []], help='all by default')
    parser.add_argument('--repeats', type=int, default=7, help='turns of each side')
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    compat.bridge_torchvision()
    compat.bridge_mmaction()
    file, rows = ROOT / 'benchmarks' / 'results' / 'loading.json', {}
    with tempfile.TemporaryDirectory() as folder:
        for paper in args.papers or PAPERS:
            rows |= measured(paper, Path(folder) / paper, args.repeats)
    known = json.loads(file.read_text(encoding='utf-8'))['rows'] if file.exists() else {}
    said = dict(repeats=args.repeats, device=f'{platform.machine()}, {os.cpu_count()} cores', torch=torch.__version__)
    file.write_text(json.dumps(said | dict(rows=known | rows), indent=1) + '\n', encoding='utf-8')
    print('| samples | ours, a second | peer, a second | peer | ours / peer (time) |\n|---|---|---|---|---|')
    for name, row in rows.items():
        print(
            f'| {name} | {row["ours_per_second"]:.1f} | {row["peer_per_second"]:.1f} | {row["peer"]} | '
            f'{row["median"]:.2f} ({row["lowest"]:.2f} to {row["highest"]:.2f}) |'
        )


def measured(paper: str, folder: Path, repeats: int) -> dict[str, dict]:
    """Rows of a paper by what is loaded; its files are written into ``folder``."""
    rows = {}
    for name, peer, ours, theirs in PAPERS[paper](folder):
        sides = {side: partial(_load_all, load, SAMPLES[paper]) for side, load in (('ours', ours), ('peer', theirs))}
        row = ratio(interleaved(sides, repeats, torch.device('cpu')), 'ours', 'peer')
        speeds = {f'{side}_per_second': SAMPLES[paper] / row[f'{side}_ms'] * 1e3 for side in sides}
        rows[f'{paper}: {name}'] = dict(row, peer=peer, **speeds)
    return rows


def _load_all(load: Load, count: int) -> None:
    np.random.seed(0)
    for number in range(count):
        load(number)


def autoformer(folder: Path) -> Iterator[Row]:
    """One image of ImageNet."""
    files = photographs(folder, (500, 375))
    sides = [
        pipeline('openmsra', recipe('autoformer', 'autoformer-tiny_supernet_8xb128-500e_in1k.py')),
        pipeline('mmpretrain', get_config('mmpretrain::deit/deit-tiny_4xb256_in1k.py')),
    ]
    yield 'an image of ImageNet', 'mmpretrain, DeiT', *(_of_images(side, files, gt_label=0) for side in sides)


def maskco(folder: Path) -> Iterator[Row]:
    """Two views of an image."""
    files = photographs(folder, (500, 375))
    cfg = recipe('maskco', 'maskco_resnet50_8xb32-200e_in1k.py', data_root=str(folder))
    theirs = pipeline('mmpretrain', get_config('mmpretrain::mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py'))
    yield 'two views of an image of ImageNet', 'mmpretrain, MoCo v2', dataset(cfg), _of_images(theirs, files)


def soft_teacher(folder: Path) -> Iterator[Row]:
    """A labelled image, and both views of an unlabelled one."""
    files, rng = photographs(folder, (640, 480)), np.random.default_rng(0)
    corners, sides = rng.uniform(0, 300, (7, 2)), rng.uniform(20, 150, (7, 2))
    boxes = np.concatenate([corners, corners + sides], 1).tolist()
    instances = [dict(bbox=box, bbox_label=number % CLASSES, ignore_flag=0) for number, box in enumerate(boxes)]
    facts = dict(img_id=0, height=480, width=640, instances=instances)
    ours = recipe('soft_teacher', 'soft-teacher_faster-rcnn-r50_8xb5-180k_coco-10pct.py')
    theirs = get_config('mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py')
    for number, name in enumerate(('a labelled image of COCO', 'two views of an unlabelled image of COCO')):
        loads = [
            _of_images(pipeline(scope, cfg, number), files, **facts) for scope, cfg in (('openmsra', ours), ('mmdet', theirs))
        ]
        yield name, 'mmdet, Soft Teacher', *loads


def ckdn(folder: Path) -> Iterator[Row]:
    """Restored, degraded and pristine image of 288 pixels, and another restored one."""
    from PIL import Image
    from torchvision import transforms

    trees.pipal(folder)
    cfg = recipe('ckdn', 'ckdn_r50_8xb8-30e_pipal.py', data_root=str(folder))
    ours = built(cfg)

    def steps(interpolation: transforms.InterpolationMode) -> Load:
        resize = transforms.Resize(329, interpolation)
        normalise = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        return transforms.Compose([resize, transforms.CenterCrop(288), transforms.ToTensor(), normalise])

    bicubic, nearest = steps(transforms.InterpolationMode.BICUBIC), steps(transforms.InterpolationMode.NEAREST)

    def theirs(number: int) -> list[torch.Tensor]:
        files = ours.get_data_info(number % len(ours))
        files['other_path'] = ours.get_data_info((number + 1) % len(ours))['restored_path']
        return [step(Image.open(files[f'{role}_path']).convert('RGB')) for role, step in roles.items()]

    roles = dict(restored=bicubic, other=bicubic, degraded=nearest, pristine=nearest)
    yield 'the four images of a sample of PIPAL', 'PIL, torchvision', ours.__getitem__, theirs


def mcn(folder: Path) -> Iterator[Row]:
    """Four clips of a video; the jitter of colours is left out on both sides."""
    film = trees.Videos()
    for name, size, frames in ((UCF101, (320, 240), 180), (KINETICS, (1280, 720), 250)):
        place = folder / f'{size[1]}p'
        files = [film(place / f'{number}.mp4', size, frames, number) for number in range(3)]
        trees.write_lines(place / 'list.txt', [f'{file.name} 0' for file in files])
        cfg = recipe('mcn', name, ann_file=str(place / 'list.txt'), data_root=str(place))
        train = cfg.train_dataloader.dataset
        train.pipeline = [step for step in train.pipeline if step['type'] != 'ClipJitter']
        steps = [
            dict(type='DecordInit'),
            dict(type='SampleFrames', clip_len=train.clip_len, frame_interval=train.interval, num_clips=train.clips),
            dict(type='DecordDecode'),
            dict(type='Resize', scale=(-1, 256)),
            dict(type='RandomResizedCrop'),
            dict(type='Resize', scale=(112, 112), keep_ratio=False),
            dict(type='Flip', flip_ratio=0.5),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs'),
        ]
        theirs = _composed('mmaction', steps)

        def load(number: int, files: list[Path] = files, theirs: Load = theirs) -> object:
            facts = dict(filename=str(files[number % len(files)]), label=0, start_index=0, modality='RGB')
            return theirs(facts)

        yield f'four clips of a video, {size[0]} x {size[1]}', 'mmaction2', dataset(cfg), load
    yield ten_clips(folder / '240p')


def ten_clips(place: Path) -> Row:
    """The ten clips of a video of the test at one reading of it, and with a reading for each."""
    items = built(recipe('mcn', TEN, 'test', ann_file=str(place / 'list.txt'), data_root=str(place)), 'test')

    def each(number: int) -> None:
        row = items.get_data_info(number % len(items))
        for k in range(items.clips):
            frames = items.frames(row, lambda count, k=k: items._chosen(row, count)[k])
            items._through_pipeline(row, frames)

    return 'ten clips of a test video, 320 x 240', 'a reading for each clip', lambda number: items[number % len(items)], each


def ftcn(folder: Path) -> Iterator[Row]:
    """A clip of 32 crops; the augmentation is left out on both sides."""
    trees.ffpp(folder)
    lines = [json.loads(line) for line in (folder / 'clips.jsonl').read_text(encoding='utf-8').splitlines()]
    for file in folder.rglob('*.png'):  # as the converter writes them by default
        cv2.imwrite(str(file.with_suffix('.jpg')), cv2.imread(str(file)), [cv2.IMWRITE_JPEG_QUALITY, 95])
        file.unlink()
    trees.write_lines(folder / 'clips.jsonl', [json.dumps(dict(line, suffix='.jpg')) for line in lines])
    cfg = recipe('ftcn', 'ftcn-tt_r50_8xb2-100e_ffpp-c23.py', data_root=str(folder))
    cfg.train_dataloader.dataset.pipeline = [dict(type='PackClip')]
    crops = sorted(next(folder.rglob('track.npz')).parent.glob('*.jpg'))
    steps = [
        dict(type='SampleFrames', clip_len=32, frame_interval=1, num_clips=1),
        dict(type='RawFrameDecode'),
        dict(type='Resize', scale=(224, 224), keep_ratio=False),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs'),
    ]
    theirs = _composed('mmaction', steps)
    facts = dict(frame_dir=str(crops[0].parent), total_frames=len(crops), filename_tmpl='{:06}.jpg', label=0, start_index=0)
    yield '32 crops of a face', 'mmaction2', dataset(cfg), lambda _: theirs(dict(facts, modality='RGB'))


def photographs(folder: Path, size: tuple[int, int]) -> list[Path]:
    """JPEG files of (width, height)."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f'{name}.jpg' for name in PHOTOS]
    for name, file in zip(PHOTOS, files, strict=True):
        cv2.imwrite(str(file), cv2.resize(load_photo(name)[..., ::-1], size, interpolation=cv2.INTER_AREA))
    return files


def pipeline(scope: str, cfg: Config, part: int | None = None) -> Load:
    """The transforms of the training set of a config, or of one of the sets that it joins."""
    train = cfg.train_dataloader.dataset
    return _composed(scope, (train if part is None else train.datasets[part]).pipeline)


def _composed(scope: str, steps: list[dict]) -> Load:
    __import__(scope)
    if scope != 'openmsra':
        __import__(f'{scope}.utils').utils.register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope(scope):
        return Compose(steps)


def _of_images(transforms: Load, files: list[Path], **facts) -> Load:
    return lambda number: transforms(dict(img_path=str(files[number % len(files)]), **facts))


def recipe(paper: str, name: str, phase: str = 'train', **options) -> Config:
    """One of our configs, with options of the data set of a phase."""
    return load_config(
        ROOT / 'configs' / paper / name, {f'{phase}_dataloader.dataset.{key}': value for key, value in options.items()}
    )


def built(cfg: Config, phase: str = 'train') -> BaseDataset:
    """The data set of a phase of one of our configs."""
    with DefaultScope.overwrite_default_scope('openmsra'):
        return DATASETS.build(cfg[f'{phase}_dataloader'].dataset)


def dataset(cfg: Config) -> Load:
    """Its items."""
    items = built(cfg)
    return lambda number: items[number % len(items)]


PAPERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    function.__name__: function for function in (autoformer, maskco, soft_teacher, ckdn, mcn, ftcn)
}
SAMPLES = dict(autoformer=70, maskco=28, soft_teacher=14, ckdn=40, mcn=3, ftcn=6)

if __name__ == '__main__':
    main()
