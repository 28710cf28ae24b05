"""The pre-trained encoder, or a fine-tuned classifier: from old checkpoints and from torchvision, for mmaction2's recognizer."""

import re

from torch import Tensor

from openmsra.errors import CheckpointError

PARTS = ('backbone.', 'cls_head.')
TORCHVISION = ('stem.', 'features.', 'layer1.')  # how its video networks begin
# Our names until version 0.3 (those of mmaction2's ResNet3d for R3D) -> those of torchvision, tried in this order.
INCEPTION = {name: number for number, name in zip((5, 6, 8, 9, 10, 11, 12, 14, 15), (
    'mixed_3b', 'mixed_3c', 'mixed_4b', 'mixed_4c', 'mixed_4d', 'mixed_4e', 'mixed_4f', 'mixed_5b', 'mixed_5c',
))}  # fmt: skip
RENAMED = (
    (r'^stem\.(\d)\.', r'features.\1.'),  # S3D
    (r'^blocks\.(mixed_\w+)\.', lambda match: f'features.{INCEPTION[match[1]]}.'),
    (r'^(features\..*)\.space\.', r'\1.0.'),
    (r'^(features\..*)\.time\.', r'\1.1.'),
    (r'^(features\..*)\.conv\.', r'\1.0.'),
    (r'^(features\..*)\.bn\.', r'\1.1.'),
    (r'^conv1\.space\.conv\.', 'stem.0.'),  # R(2+1)D
    (r'^conv1\.space\.bn\.', 'stem.1.'),
    (r'^conv1\.time\.conv\.', 'stem.3.'),
    (r'^conv1\.time\.bn\.', 'stem.4.'),
    (r'\.(conv[12])\.space\.conv\.', r'.\1.0.0.'),
    (r'\.(conv[12])\.space\.bn\.', r'.\1.0.1.'),
    (r'\.(conv[12])\.time\.conv\.', r'.\1.0.3.'),
    (r'\.(conv[12])\.time\.bn\.', r'.\1.1.'),
    (r'^conv1\.conv\.', 'stem.0.'),  # R3D; the shortcuts of both
    (r'^conv1\.bn\.', 'stem.1.'),
    (r'\.(conv[12]|downsample)\.conv\.', r'.\1.0.'),
    (r'\.(conv[12]|downsample)\.bn\.', r'.\1.1.'),
)
TO_MMACTION = (
    (r'^stem\.0\.', 'conv1.conv.'),
    (r'^stem\.1\.', 'conv1.bn.'),
    (r'\.(conv[12]|downsample)\.0\.', r'.\1.conv.'),
    (r'\.(conv[12]|downsample)\.1\.', r'.\1.bn.'),
)


def renamed(name: str, rules: tuple) -> str:
    """A weight's name after those of the rules that fit."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def rename_old(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of before the encoders became torchvision's, with the names of today; one of today is not changed."""
    names = {}
    for name in state:
        prefix = next((part for part in ('backbone.', 'encoder_k.0.') if name.startswith(part)), '')
        names[name] = prefix + renamed(name.removeprefix(prefix), RENAMED) if prefix else name
    if any(re.match(r'backbone\.(stem\.0\.weight|features\.)', name) for name in state):
        return dict(state)
    return {names[name]: value for name, value in state.items()}


def encoder_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of ``state`` that outlive pre-training: the backbone and, of a :class:`VideoClassifier`, its classifier.

    A file of torchvision (``r2plus1d_18-91a641e6.pth``: supervised on Kinetics-400) gives its backbone, an old checkpoint its
    weights under the names of today.

    Raises:
        CheckpointError: there is no backbone in ``state``.
    """
    if any(name.startswith(TORCHVISION) for name in state):
        return {f'backbone.{name}': value for name, value in state.items() if not name.startswith(('fc.', 'classifier.'))}
    weights = {name: value for name, value in rename_old(state).items() if name.startswith(PARTS)}
    if not any(name.startswith('backbone.') for name in weights):
        raise CheckpointError('no key of the checkpoint starts with "backbone.": it is not one of MCN or its classifier.')
    return weights


def recognizer_weights(weights: dict[str, Tensor], backbone: dict) -> dict[str, Tensor]:
    """What :func:`encoder_weights` gives under the names of :func:`recognizer_config`'s network."""
    if not _has_counterpart(backbone):
        return weights
    return {
        f'backbone.{renamed(name.removeprefix("backbone."), TO_MMACTION)}' if name.startswith('backbone.') else name: value
        for name, value in weights.items()
    }


def recognizer_config(backbone: dict, preprocessor: dict, num_classes: int) -> dict:
    """mmaction2's ``Recognizer3D`` with the same predictions, for a config with ``default_scope='mmaction'``.

    R3D becomes mmaction2's own ``ResNet3d``. R(2+1)D and S3D have no equal there and stay ours, so that the config needs
    ``custom_imports=dict(imports=['openmsra.mcn'])``.

    Args:
        backbone: the backbone's config here.
        preprocessor: that of :class:`ClipDataPreprocessor`, without ``residual``, which mmaction2 does not have.

    Raises:
        ValueError: residual input.
    """
    if preprocessor.get('residual'):
        raise ValueError('residual input has no counterpart in mmaction2; the checkpoint can be used with openmsra only.')
    if _has_counterpart(backbone):
        theirs = dict(
            type='ResNet3d',
            depth=18,
            stage_blocks=tuple(backbone.get('blocks', (2, 2, 2, 2))),
            conv1_kernel=(3, 7, 7),
            conv1_stride_t=1,
            with_pool1=False,
            with_pool2=False,
            temporal_strides=(1, 2, 2, 2),
            inflate_style='3x3x3',
            zero_init_residual=False,
            pretrained=None,
        )
    else:
        theirs = {**backbone, 'type': f'openmsra.{backbone["type"]}'}
    width = 1024 if backbone['type'] == 'S3D' else 512
    head = dict(type='I3DHead', num_classes=num_classes, in_channels=width, average_clips='prob')
    means = {name: list(preprocessor[name]) for name in ('mean', 'std')}
    return dict(
        type='Recognizer3D',
        backbone=theirs,
        cls_head=head,
        data_preprocessor=dict(type='ActionDataPreprocessor', format_shape='NCTHW', **means),
    )


def _has_counterpart(backbone: dict) -> bool:
    return backbone['type'] == 'VideoResNet' and backbone.get('kind', 'r3d') == 'r3d' and not backbone.get('norm_cfg')
