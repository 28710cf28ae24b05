"""``openmsra weights``: where the official checkpoints are, by their authors' pages, and their conversion. No mirror."""

import argparse
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

from openmsra.cli.forwarding import forward
from openmsra.errors import MissingFileError, ToolError
from openmsra.needs import MTCNN
from openmsra.resources import PAPERS

UNKNOWN = 'not published by the authors'
CREAM = 'MIT (repository microsoft/Cream and the model zoo it names)'
ZOO = 'https://github.com/silent-chen/AutoFormer-model-zoo/releases/download/v1.0'
DRIVE = 'https://drive.google.com'
SOFT_TEACHER = 'MIT (repository microsoft/SoftTeacher)'


@dataclass(frozen=True)
class Weights:
    """An official checkpoint.

    Attributes:
        name: short, for a table.
        paper: whose model it is.
        address: where its authors say it is.
        gives: what they measured with it.
        licence: of the repository that names the file.
        sha256: of the file, or what is known instead.
        size: of the file in MB, or why it is not stated.
        checked: what was compared here.
    """

    name: str
    paper: str
    address: str
    gives: str
    licence: str
    sha256: str = UNKNOWN
    size: str = 'not stated'
    checked: str = 'the converter, on files of the official layout; the released file itself was not at hand'


ORACLE = 'converter, and outputs equal to those of the official code with the same made-up weights; not with the released file'
KNOWN = (
    Weights('autoformer-tiny', 'autoformer', f'{ZOO}/supernet-tiny.pth', 'ImageNet top-1 75.3', CREAM, checked=ORACLE),
    Weights('autoformer-small', 'autoformer', f'{ZOO}/supernet-small.pth', 'ImageNet top-1 81.7', CREAM, checked=ORACLE),
    Weights('autoformer-base', 'autoformer', f'{ZOO}/supernet-base.pth', 'ImageNet top-1 82.4', CREAM, checked=ORACLE),
    Weights(
        'soft-teacher-1pct',
        'soft_teacher',
        f'{DRIVE}/drive/folders/1QA8sAw49DJiMHF-Cr7q0j7KgKjlJyklV',
        'COCO mAP 21.62, mean of five splits',
        SOFT_TEACHER,
    ),
    Weights(
        'soft-teacher-5pct',
        'soft_teacher',
        f'{DRIVE}/drive/folders/1FBWj5SB888m0LU_XYUOK9QEgiubSbU-8',
        'COCO mAP 30.42, mean of five splits',
        SOFT_TEACHER,
    ),
    Weights(
        'soft-teacher-10pct',
        'soft_teacher',
        f'{DRIVE}/drive/folders/1WyAVpfnWxEgvxCLUesxzNB81fM_de9DI',
        'COCO mAP 33.78, mean of five splits',
        SOFT_TEACHER,
    ),
    Weights(
        'soft-teacher-full',
        'soft_teacher',
        f'{DRIVE}/file/d/1QSwAcU1dpmqVkJiXufW_QaQu-puOeblG',
        'COCO mAP 44.05, ResNet-50',
        SOFT_TEACHER,
    ),
    Weights(
        'ftcn-tt',
        'ftcn',
        'https://github.com/yinglinzheng/FTCN/releases/download/weights/ftcn_tt.pth',
        'trained on FaceForensics++',
        'the repository yinglinzheng/FTCN has no licence file: ask its authors before you use it beyond reading',
        sha256=f'{UNKNOWN}; a user of the file states 3d08fc78174bbfdb3fbede317b95dcac9095202ed7113649eecf6e2ef5ee77d8',
        size='59 (a user of the file states 59,248,500 bytes)',
        checked=ORACLE,
    ),
    Weights(
        'mtcnn',
        'ftcn',
        f'in the wheel of a package: pip install --no-deps {MTCNN}; no conversion',
        'faces with five landmarks for FTCN; taken by itself where it is installed',
        'MIT (repository timesler/facenet-pytorch)',
        sha256='begin with: pnet a2a71925e0b9996a, rnet bbb937de72efc9ef, onet 165bfbe42940416c',
        size='2',
        checked='faces and points on real videos, against those of every frame',
    ),
    Weights(
        'ckdn',
        'ckdn',
        f'{DRIVE}/file/d/13HzxPsRWdPC_CAsbvgMgU5IG_TKPVbNe',
        'trained on PIPAL',
        'the repository researchmm/CKDN has no licence file: ask its authors before you use it beyond reading',
        checked=ORACLE,
    ),
    Weights(
        'mocov2-r50',
        'maskco',
        'https://mmassets.onedl.ai/mmselfsup/1.x/mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k/'
        'mocov2_resnet50_8xb32-coslr-200e_in1k_20220825-b6d23c86.pth',
        'MoCo v2 of mmpretrain, the baseline of MaskCo; ImageNet linear probe, see its page',
        'Apache-2.0 (repository mmpretrain)',
        sha256='starts with b6d23c86, as the name of the file says',
    ),
)
WITHOUT = {
    'mcn': 'no code and no weights were published; train your own',
    'maskco': 'no code and no weights were published beside the MoCo v2 baseline; train your own',
}
PATCH_DIMS = {256: 'tiny', 448: 'small', 640: 'base'}  # of the supernets' patch embeddings


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog='openmsra weights', description='The official checkpoints and their conversion.')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND')
    listing = commands.add_parser('list', help='where they are, their licences and hashes (the default)')
    listing.add_argument('paper', nargs='?', choices=PAPERS)
    convert = commands.add_parser('convert', help='recognise a downloaded file and convert it')
    convert.add_argument('file', type=Path)
    convert.add_argument('--out', type=Path, help='file to write (default: FILE_openmsra.pth)')
    args = parser.parse_args(argv or ['list'])
    if args.command == 'list':
        print(table(args.paper))
    elif args.command == 'convert':
        convert_file(args.file, args.out or args.file.with_name(f'{args.file.stem}_openmsra.pth'))
    else:
        parser.print_help()


def table(paper: str | None) -> str:
    """What is known about the checkpoints of a paper or of all."""
    blocks = []
    for weights in KNOWN:
        if paper in (None, weights.paper):
            facts = dict(
                address=weights.address,
                gives=weights.gives,
                **{'size, MB': weights.size},
                licence=weights.licence,
                sha256=weights.sha256,
                checked=weights.checked,
            )
            blocks.append('\n'.join([f'{weights.name} ({weights.paper})', *(f'    {k:<10}{v}' for k, v in facts.items())]))
    blocks += [f'{name}\n    {why}' for name, why in WITHOUT.items() if paper in (None, name)]
    closing = 'Download a file in your browser, then: openmsra weights convert FILE'
    return '\n\n'.join([*blocks, closing])


def recognise(keys: dict[str, tuple[int, ...]]) -> tuple[str, list[str]]:
    """Converter and its further arguments for a state dict, by names and shapes of its entries.

    Raises:
        ToolError: it is none of the known ones; the message says what it looks like.
    """
    if 'patch_embed_super.proj.weight' in keys:
        dim = keys['patch_embed_super.proj.weight'][0]
        if dim not in PATCH_DIMS:
            raise ToolError(
                f'an AutoFormer supernet of width {dim}; those of the authors have {", ".join(map(str, PATCH_DIMS))}.'
            )
        return 'autoformer_from_cream', ['--space', PATCH_DIMS[dim]]
    if any(key.startswith('teacher.') for key in keys) and any(key.startswith('student.') for key in keys):
        deep = any('.layer3.22.' in key for key in keys)
        name = 'soft-teacher_faster-rcnn-r101_8xb8-1080k_coco-full' if deep else ''
        return 'soft_teacher_from_official', ['--config', name] if name else []
    if any('.pathway0_stem.' in key for key in keys):
        return 'ftcn_from_official', []
    if 'qse_1.weight' in keys and any(key.startswith('csp') for key in keys):
        return 'ckdn_from_official', []
    if any(key.startswith('encoder_k.module.') for key in keys):
        return 'maskco_from_mmpretrain', []
    start = ', '.join(list(keys)[:3]) or 'nothing'
    raise ToolError(f'none of the official checkpoints: its entries begin with {start}. `openmsra weights` lists those that are.')


def convert_file(file: Path, target: Path) -> None:
    """Say what a file is, and convert it.

    Raises:
        MissingFileError, ToolError, CheckpointError: no file, an unknown one, or one that is not safe to read.
    """
    if not file.is_file():
        raise MissingFileError(f'{file}: there is no such file.')

    import torch

    from openmsra.engine.checkpoint.io import load_file, weights_of

    with torch.serialization.safe_globals([argparse.Namespace]):  # CKDN's trainer pickles its arguments
        checkpoint = load_file(file)
    try:
        converter, further = recognise({key: tuple(value.shape) for key, value in weights_of(checkpoint, file).items()})
    except ToolError as error:
        raise ToolError(f'{file}: {error}') from None
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    print(f'{file}: recognised, tools/model_converters/{converter}.py converts it; sha256 {digest}', file=sys.stderr)
    forward('weights convert', f'model_converters/{converter}.py', [str(file), str(target), *further])
