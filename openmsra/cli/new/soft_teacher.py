"""A config for Soft Teacher on labelled and unlabelled images: COCO files, a VOC folder, or a YOLO folder."""

import argparse
import json
from collections import Counter, defaultdict
from math import ceil, log2, sqrt
from pathlib import Path

from openmsra.cli.new.looking import (
    Machine,
    Report,
    hold_out,
    machine,
    median,
    quantile,
    readable_images,
    report_copies,
    rounded,
)
from openmsra.cli.new.text import ConfigText, literal
from openmsra.errors import DataError, MissingFileError, ToolError

SMALL_SIDE = 352  # pixels of the longer side that a CPU has time for
LEAST_BOX = 12  # pixels that a small box should have in training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--labelled', '--labeled', type=Path, required=True, help='COCO file, VOC folder (with ImageSets), or YOLO folder'
    )
    parser.add_argument('--images', type=Path, help='folder that the names of a COCO file are relative to (default: its own)')
    parser.add_argument(
        '--unlabelled',
        '--unlabeled',
        type=Path,
        nargs='+',
        default=[],
        help='folders of images, or a COCO file; default: images of --images that are not labelled, or the rest of --percent',
    )
    parser.add_argument('--val', type=Path, help='COCO file with boxes to evaluate on (default: a part is held out)')
    parser.add_argument(
        '--percent', type=float, help='labels of this share are kept, those of the rest are hidden: an experiment'
    )


def build(args: argparse.Namespace, report: Report) -> ConfigText:
    """Look at images and boxes, write converted annotations beside the config, and the config.

    Raises:
        MissingFileError, DataError, AnnotationError, ToolError: see the sentences.
    """
    root, parts = _read(args)
    labelled, unlabelled_content = _divide(parts, args, report)
    classes = [row['name'] for row in sorted(labelled['categories'], key=lambda row: row['id'])]
    _check_boxes(labelled, classes, args.labelled, report)
    files = {
        'labelled': _write(args.files / 'labelled.json', labelled),
        'val': _write(args.files / 'val.json', parts['val']),
    }
    paths = {name: _paths(root, parts_) for name, parts_ in (('labelled', labelled), ('val', parts['val']))}
    sizes = readable_images(sorted(set(paths['labelled'] + paths['val'])), unreadable := Report())
    if unreadable.warnings:
        raise DataError(f'{args.labelled}: {unreadable.warnings[0]} Repair them, or remove them from the file.')
    unlabelled, rest = _unlabelled(args, root, unlabelled_content, set(paths['labelled'] + paths['val']), files, report)
    report_copies({'labelled': paths['labelled'], 'unlabelled': rest, 'val': paths['val']}, report)
    figures = Figures.of(labelled, sizes)
    report.facts.insert(
        0,
        f'{len(labelled["images"])} labelled images with {len(labelled["annotations"])} boxes of {len(classes)} classes '
        f'({", ".join(classes[:8])}{", ..." if len(classes) > 8 else ""}), {len(rest)} unlabelled, {len(parts["val"]["images"])} '
        f'for validation; {figures.width} x {figures.height} pixels; boxes of {figures.small:.0f} to {figures.large:.0f} pixels',
    )
    title = f'Soft Teacher on {len(labelled["images"])} labelled and {len(rest)} unlabelled images, {len(classes)} classes.'
    data = Data(root, files, unlabelled, classes, len(labelled['images']), len(rest))
    resources = machine(args.size)
    return (_full if resources.gpus else _small)(title, data, figures, resources)


class Figures:
    """Sizes in pixels of the images and boxes, and numbers of boxes.

    Attributes:
        width, height: of the image in the middle.
        small, large: square roots of the areas of the boxes, at 15 % of the class with the smallest and 85 % of that with the
            largest ones.
        tall, wide: height by width of the boxes, at 10 and 90 %.
        most: boxes in an image.
    """

    def __init__(self, width: int, height: int, boxes_by_class: list[list[list[float]]], most: int) -> None:
        sides = [[sqrt(w * h) for _, _, w, h in boxes] for boxes in boxes_by_class]
        ratios = [h / w for boxes in boxes_by_class for _, _, w, h in boxes]
        self.width, self.height, self.most = width, height, most
        self.small, self.large = min(quantile(s, 0.15) for s in sides), max(quantile(s, 0.85) for s in sides)
        self.wide, self.tall = quantile(ratios, 0.1), quantile(ratios, 0.9)

    @classmethod
    def of(cls, content: dict, sizes: dict[Path, tuple[int, int]]) -> 'Figures':
        boxes = defaultdict(list)
        for row in content['annotations']:
            if min(row['bbox'][2:]) > 0:
                boxes[row['category_id']].append(row['bbox'])
        most = max(Counter(row['image_id'] for row in content['annotations']).values())
        width, height = (int(median(size[axis] for size in sizes.values())) for axis in (0, 1))
        return cls(width, height, list(boxes.values()), most)

    def ratios(self) -> list[float]:
        """Heights by widths of anchors."""
        return [1.0] if self.wide > 0.6 and self.tall < 1.7 else [0.5, 1.0, 2.0]

    def anchors(self, scale: float, strides: tuple[int, int]) -> list[float]:
        """Sides of anchors in strides, so that those of the first and last level meet the small and the large boxes."""
        low, high = max(self.small * scale / strides[0], 1.0), max(self.large * scale / strides[1], 1.0)
        low, high = min(low, high), max(low, high)
        count = min(4, 1 + ceil(log2(high / low)))
        return [round(low * (high / low) ** (k / max(count - 1, 1)), 1) for k in range(count)]


class Data:
    """Where the images and annotations are."""

    def __init__(self, root: Path, files: dict[str, Path], unlabelled: str, classes: list[str], labelled: int, rest: int) -> None:
        self.root, self.files, self.unlabelled, self.classes = root, files, unlabelled, classes
        self.labelled, self.rest = labelled, rest


def _read(args: argparse.Namespace) -> tuple[Path, dict[str, dict]]:
    """Folder of the images, and COCO content by part."""
    from openmsra.common.coco import read_coco
    from openmsra.soft_teacher.data.splits import read_voc, voc_image_sets
    from openmsra.soft_teacher.data.yolo import read_yolo, yolo_names, yolo_parts

    source = args.labelled
    if not source.exists():
        raise MissingFileError(f'--labelled {source}: there is no such file or folder.')
    if source.is_file():
        content = read_coco(source)
        parts = {'train': content}
        root = (args.images or source.parent).absolute()
        _check_root(root, content['images'][0]['file_name'], source)
    elif (source / 'Annotations').is_dir():
        root, sets = (args.images or source / 'JPEGImages').absolute(), voc_image_sets(source)
        parts = {name: read_voc(source, name) for name in sets} or {'train': read_voc(source)}
        if 'trainval' in parts:
            parts.setdefault('train', parts['trainval'])
    elif (parts_ := yolo_parts(source)) and source.is_dir():
        root, names = source.absolute(), yolo_names(source)
        parts = {name: read_yolo(folder.absolute(), root, names) for name, folder in parts_.items()}
    else:
        raise MissingFileError(
            f'--labelled {source}: neither a COCO file, nor a VOC folder (Annotations/, JPEGImages/), nor a '
            'YOLO folder (images/, labels/).'
        )
    if args.val:
        parts['val'] = read_coco(args.val)
    if 'train' not in parts:
        raise DataError(f'{source}: it has {", ".join(parts)}, but nothing to train on.')
    return root, parts


def _check_root(root: Path, name: str, source: Path) -> None:
    """See that an image of a COCO file is below the folder of images.

    Raises:
        MissingFileError: it is not; the message names a folder near by that has it.
    """
    if (root / name).is_file():
        return
    near = [folder for folder in (root.parent, *source.absolute().parents[:3]) if (folder / name).is_file()]
    said = f'--images {near[0]} has it' if near else 'give that folder with --images'
    raise MissingFileError(f'{root / name}: there is no such image. The names in {source} are relative to a folder; {said}.')


def _divide(parts: dict[str, dict], args: argparse.Namespace, report: Report) -> tuple[dict, dict | None]:
    """Labelled content, and what ``--percent`` leaves; ``parts['val']`` is filled."""
    from openmsra.soft_teacher.data.splits import draw, subset

    content = parts['train']
    if 'val' not in parts:
        parts['val'] = parts.get('test')
    if parts['val'] is None:
        if len(content['images']) < 10:
            raise DataError(
                f'{args.labelled}: {len(content["images"])} labelled images are too few to hold some out; give --val.'
            )
        _, held_out = hold_out([image['id'] for image in content['images']], 0.2, group=lambda _: '')
        parts['val'] = subset(content, set(held_out))
        content = subset(content, {image['id'] for image in content['images']} - set(held_out))
        report.facts.append(f'no part for validation: {len(held_out)} labelled images are held out, the same in each run')
    if not args.percent:
        return content, None
    if not 0 < args.percent < 100:
        raise ToolError(f'--percent {args.percent:g}: between 0 and 100.')
    kept = set(draw(content, max(1, round(args.percent / 100 * len(content['images']))), fold=1, stratified=True))
    every = {image['id'] for image in content['images']}
    return subset(content, kept), subset(content, every - kept)


def _check_boxes(content: dict, classes: list[str], place: Path, report: Report) -> None:
    counts = Counter(row['category_id'] for row in content['annotations'])
    if not counts:
        raise DataError(f'{place}: no image has a box; there is nothing to learn.')
    names = {row['id']: row['name'] for row in content['categories']}
    if empty := [name for number, name in names.items() if number not in counts]:
        report.warnings.append(f'{len(empty)} of {len(classes)} classes have no labelled box: {", ".join(empty[:5])}')
    flat = sum(min(row['bbox'][2:]) < 1 for row in content['annotations'])
    if flat:
        report.warnings.append(f'{flat} boxes are less than a pixel wide or high; they are left out in training')
    sizes = {image['id']: (image.get('width'), image.get('height')) for image in content['images']}
    outside = sum(
        None not in sizes[row['image_id']]
        and (
            row['bbox'][0] + row['bbox'][2] > sizes[row['image_id']][0] + 1
            or row['bbox'][1] + row['bbox'][3] > sizes[row['image_id']][1] + 1
        )
        for row in content['annotations']
        if row['image_id'] in sizes
    )
    if outside > len(content['annotations']) / 2:
        raise DataError(
            f'{place}: {outside} of {len(content["annotations"])} boxes leave their images. Are they x, y, width, height?'
        )


def _paths(root: Path, content: dict) -> list[Path]:
    return [root / image['file_name'] for image in content['images']]


def _write(file: Path, content: dict) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding='utf-8')
    return file


def _unlabelled(
    args: argparse.Namespace, root: Path, hidden: dict | None, known: set[Path], files: dict[str, Path], report: Report
) -> tuple[str, list[Path]]:
    """The data set of the unlabelled images in Python, and their files.

    Raises:
        DataError: there are none.
    """
    from openmsra.common.coco import read_coco
    from openmsra.common.images import list_images

    content = hidden
    if content is None and len(args.unlabelled) == 1 and args.unlabelled[0].is_file():
        content = read_coco(args.unlabelled[0])
    if content is not None:
        files['unlabelled'] = _write(args.files / 'unlabelled.json', dict(content, categories=content.get('categories', [])))
        return "'UnlabelledCoco', ann_file=" + repr(str(files['unlabelled'])), _paths(root, content)
    folders = [folder.absolute() for folder in args.unlabelled] or [root]
    images = [image for image in list_images(folders) if image not in known]
    readable = list(readable_images(images, report, least_side=32)) if images else []
    if not readable:
        raise DataError(
            f'no unlabelled images: every image of {", ".join(map(str, folders))} is labelled. Give --unlabelled FOLDER, or '
            '--percent 10 to hide the labels of the rest.'
        )
    if not args.unlabelled:
        report.warnings.append(
            f'{len(readable)} images of {root} that no file lists are taken for unlabelled ones; if test images are '
            'among them, name the others with --unlabelled.'
        )
    common = Path('/').joinpath(*_common_parts([image.parent for image in readable]))
    names = args.files / 'unlabelled.txt'
    names.write_text(''.join(f'{image.relative_to(common)}\n' for image in readable), encoding='utf-8')
    return f"'UnlabelledFolder', folders={str(common)!r}, list_file={str(names)!r}", readable


def _common_parts(folders: list[Path]) -> list[str]:
    first, last = min(folders).parts[1:], max(folders).parts[1:]
    count = next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return list(first[:count])


def _add_data(
    text: ConfigText, data: Data, width: int, height: int, batch: int, labelled: int, workers: int, delete: bool
) -> None:
    """Pipelines from the parts of the base, the data sets and their loaders."""
    low, high = (tuple(rounded(share * side, 8, 32) for side in (width, height)) for share in (0.8, 1.2))
    text.add(f'resize = dict(_base_.resize, scale=[{low}, {high}])', f'around {width} x {height} pixels, the sides in proportion')
    text.add(f"images = dict(metainfo=dict(classes=classes), data_root={str(data.root)!r}, data_prefix=dict(img=''))")
    text.add(f"labelled = dict(images, type='LabelledCoco', ann_file={str(data.files['labelled'])!r},")
    text.add('    filter_cfg=dict(filter_empty_gt=True), pipeline=[*_base_.labelled.pipeline[:-1],')
    text.add("    dict(type='ViewBranches', branch_field=_base_.branches, sup=[resize, *sup])])")
    place = 'metainfo=dict(classes=classes)' if 'UnlabelledFolder' in data.unlabelled else '**images'
    text.add(f'unlabelled = dict({place}, type={data.unlabelled},')
    text.add("    pipeline=[*_base_.unlabelled.pipeline[:-1], dict(type='ViewBranches', branch_field=_base_.branches,")
    text.add('        unsup_teacher=[resize, *weak], unsup_student=[resize, *strong])])')
    text.block(
        'train_dataloader = dict(',
        [
            (f'batch_size={batch}', f'{labelled} labelled, {batch - labelled} unlabelled'),
            (f'num_workers={workers}, persistent_workers=True', ''),
            ('dataset=dict(datasets=[labelled, unlabelled])', ''),
            (f'sampler=dict(batch_size={batch}, source_ratio=[{labelled}, {batch - labelled}])', ''),
        ],
    )
    meta = "'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'"
    text.add('val_dataloader = dict(batch_size=1, num_workers=1, persistent_workers=True,')
    text.add(f"    dataset=dict(images,{' _delete_=True,' * delete} type='LabelledCoco', test_mode=True,")
    text.add(f"    ann_file={str(data.files['val'])!r}, pipeline=[dict(type='LoadCheckedImage'),")
    text.add(f"    dict(type='mmdet.Resize', scale=({width}, {height}), keep_ratio=True),")
    text.add(f"    dict(type='mmdet.PackDetInputs', meta_keys=({meta}))]))")
    text.add('test_dataloader = val_dataloader')
    text.add(f'val_evaluator = test_evaluator = dict(ann_file={str(data.files["val"])!r})')


def _classes(text: ConfigText, data: Data) -> None:
    names = literal(tuple(data.classes))
    if len(names) < 600:
        text.add(f'classes = {names}', 'in the order of their numbers' if len(names) < 80 else '')
    else:
        raise DataError(f'{len(data.classes)} classes with long names: start from configs/soft_teacher/_base_coco.py by hand.')


def _small(title: str, data: Data, figures: Figures, resources: Machine) -> ConfigText:
    """A detector of 1.2 million parameters from random weights."""
    text = ConfigText(title, 'soft_teacher/_base_shapes.py')
    scale = min(1.0, SMALL_SIDE / max(figures.width, figures.height))
    if figures.small * scale < LEAST_BOX:
        scale = min(LEAST_BOX / figures.small, 1.5 * SMALL_SIDE / max(figures.width, figures.height))
    width, height = rounded(figures.width * scale, 32, 64), rounded(figures.height * scale, 32, 64)
    scales, labelled = figures.anchors(scale, (8, 16)), 2
    iterations = max(800, min(3000, 20 * (data.labelled + data.rest) // 4))
    burn_in = iterations // 2
    text.add("custom_imports = dict(imports=['openmsra.soft_teacher'])", 'the inherited miniature is not needed')
    _classes(text, data)
    text.add("flip, colour, pack = _base_.flip, dict(type='OneColourOp'), _base_.pack")
    text.add('sup, weak = [flip, colour, pack], [flip, pack]')
    text.add("strong = [flip, dict(type='mmdet.RandomOrder', transforms=[colour, dict(type='OneGeometricOp')]),")
    text.add("    dict(type='EraseSquares'), pack]")
    _add_data(text, data, width, height, 4, labelled, resources.workers, delete=True)
    text.block(
        'detector = dict(',
        [
            ('backbone=dict(base_channels=32, stem_channels=32)', 'a ResNet-18 with three stages from random weights, for a CPU'),
            ('neck=dict(in_channels=[64, 128], out_channels=64)', ''),
            (
                f'rpn_head=dict(in_channels=64, feat_channels=64,'
                f' anchor_generator=dict(scales={scales}, ratios={figures.ratios()}))',
                f'boxes have {figures.small * scale:.0f} to {figures.large * scale:.0f} pixels here, height by width '
                f'{figures.wide:.2g} to {figures.tall:.2g}',
            ),
            (
                'roi_head=dict(bbox_roi_extractor=dict(out_channels=64),'
                f' bbox_head=dict(in_channels=64, num_classes={len(data.classes)}))',
                '',
            ),
            (
                f'test_cfg=dict(rcnn=dict(max_per_img={max(20, min(300, 2 * figures.most))}))',
                f'at most {figures.most} boxes in an image',
            ),
        ],
    )
    text.block(
        'model = dict(',
        [
            ('detector=detector', ''),
            (
                f"semi_train_cfg=dict(burn_in_iters={burn_in}, class_thresholds='prior', pseudo_label_initial_score_thr=0.3,\n"
                '        min_pseudo_bbox_wh=(4.0, 4.0), skip_unsup_if_empty=True)',
                f'{data.labelled} labelled images: labels alone at first, then thresholds that follow each class',
            ),
            ('mean_teacher=dict(momentum=0.99, keep_loaded_teacher=False)', ''),
        ],
    )
    _add_schedule(text, iterations, 50)
    text.add('optim_wrapper = dict(optimizer=dict(lr=1e-3))', 'AdamW, from random weights')
    text.add('auto_scale_lr = dict(base_batch_size=4)')
    return text


def _add_schedule(text: ConfigText, iterations: int, warm_up: int) -> None:
    interval = max(100, iterations // 4)
    text.add(f'train_cfg = dict(max_iters={iterations}, val_interval={interval})')
    text.add(f"param_scheduler = [dict(type='LinearLR', start_factor=0.01, begin=0, end={warm_up}, by_epoch=False),")
    text.add(f"    dict(type='MultiStepLR', milestones=[{int(0.8 * iterations)}], gamma=0.1, by_epoch=False)]")
    text.add(f'default_hooks = dict(checkpoint=dict(interval={interval}), logger=dict(interval={max(10, iterations // 100)}))')
    text.add(
        f"custom_hooks = [dict(type='NumClassesHook'), dict(type='PseudoLabelMonitor', interval=50, picture_interval={interval}),"
    )
    text.add("    dict(type='ExportDetector')]", 'writes the detector alone, for mmdet')


def _full(title: str, data: Data, figures: Figures, resources: Machine) -> ConfigText:
    """The paper's Faster R-CNN with a pre-trained ResNet-50."""
    text = ConfigText(title, 'soft_teacher/_base_coco.py')
    long, short = max(figures.width, figures.height), min(figures.width, figures.height)
    scale = max(min(800 / short, 1333 / long, 2.0), min(LEAST_BOX / figures.small, 1333 / long))
    width, height = rounded(figures.width * scale, 32, 64), rounded(figures.height * scale, 32, 64)
    labelled, batch = (1, 5) if resources.memory >= 20 else (1, 3)
    total = batch * resources.gpus
    share = total / 40
    # the passes that COCO's 10 % recipe makes over its unlabelled images
    iterations = max(5000, min(round(180_000 / share), round(55 * data.rest / ((batch - labelled) * resources.gpus))))
    few = data.labelled < 1000
    _classes(text, data)
    text.add('sup, weak, strong = _base_.labelled_views[1:], _base_.weak_views[1:], _base_.strong_views[1:]')
    _add_data(text, data, width, height, batch, labelled, resources.workers, delete=False)
    small = figures.small * scale < 24
    text.block(
        'detector = dict(',
        [
            (
                f'rpn_head=dict(anchor_generator=dict(scales={[4, 8] if small else [8]}))',
                f'boxes have {figures.small * scale:.0f} to {figures.large * scale:.0f} pixels here; strides are 4 to 64',
            ),
            (f'roi_head=dict(bbox_head=dict(num_classes={len(data.classes)}))', ''),
        ],
    )
    text.block(
        'model = dict(',
        [
            ('detector=detector', ''),
            *(
                [
                    (
                        f"semi_train_cfg=dict(burn_in_iters={iterations // 8}, class_thresholds='prior')",
                        f'{data.labelled} labelled images: labels alone at first, then thresholds that follow each class',
                    )
                ]
                if few
                else []
            ),
            (
                f'mean_teacher=dict(momentum={1 - max(0.001 * share, 10 / iterations):.6g})',
                f'0.999 for 40 images, {total} are in a batch, and the mean of no more than a tenth of the training',
            ),
        ],
    )
    _add_schedule(text, iterations, 500)
    text.add(f'optim_wrapper = dict(optimizer=dict(lr={0.01 * share:.4g}))', f'0.01 for 40 images, {total} are in a batch')
    text.add(f'auto_scale_lr = dict(base_batch_size={total})')
    return text
