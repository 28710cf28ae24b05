"""The pre-trained encoder, or a fine-tuned classifier, for mmaction2's recognizer."""

from torch import Tensor

from openmsra.errors import CheckpointError

PARTS = ('backbone.', 'cls_head.')


def encoder_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of ``state`` that outlive pre-training: the backbone and, of a :class:`VideoClassifier`, its classifier.

    Raises:
        CheckpointError: there is no backbone in ``state``.
    """
    weights = {name: value for name, value in state.items() if name.startswith(PARTS)}
    if not any(name.startswith('backbone.') for name in weights):
        raise CheckpointError('no key of the checkpoint starts with "backbone.": it is not one of MCN or its classifier.')
    return weights


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
    if backbone['type'] == 'VideoResNet' and backbone.get('kind', 'r3d') == 'r3d' and not backbone.get('norm_cfg'):
        theirs = dict(
            type='ResNet3d',
            depth=18,
            stage_blocks=tuple(backbone.get('blocks', (2, 2, 2, 2))),
            base_channels=backbone.get('channels', 64),
            conv1_kernel=(3, 7, 7),
            conv1_stride_t=1,
            with_pool1=False,
            with_pool2=False,
            temporal_strides=(1, 2, 2, 2),
            inflate_style='3x3x3',
            zero_init_residual=False,
            pretrained=None,
        )
        width = theirs['base_channels'] * 8
    else:
        theirs = {**backbone, 'type': f'openmsra.{backbone["type"]}'}
        width = 1024 if backbone['type'] == 'S3D' else 8 * backbone.get('channels', 64)
    head = dict(type='I3DHead', num_classes=num_classes, in_channels=width, average_clips='prob')
    means = {name: list(preprocessor[name]) for name in ('mean', 'std')}
    return dict(
        type='Recognizer3D',
        backbone=theirs,
        cls_head=head,
        data_preprocessor=dict(type='ActionDataPreprocessor', format_shape='NCTHW', **means),
    )
