"""The pre-trained backbone as an ordinary ResNet."""

from torch import Tensor

from openmsra.errors import CheckpointError

STYLES = {'mmpretrain': 'backbone.', 'torchvision': ''}


def backbone_weights(state: dict[str, Tensor], style: str = 'torchvision') -> dict[str, Tensor]:
    """Weights of the query backbone under the names of another library.

    Args:
        state: ``state_dict`` of :class:`MaskCo`, or of mmpretrain's MoCo.
        style: 'torchvision' has bare keys, which torchvision, timm and mmdet's and mmpretrain's ResNet share; 'mmpretrain' has
            the prefix ``backbone.`` of a whole classifier or detector.

    Raises:
        CheckpointError: there is no backbone in ``state``.
        ValueError: an unknown style.
    """
    if style not in STYLES:
        raise ValueError(f'style={style!r}; valid are {", ".join(STYLES)}.')
    backbone = {key.removeprefix('backbone.'): value for key, value in state.items() if key.startswith('backbone.')}
    weights = {STYLES[style] + key: value for key, value in backbone.items()}
    if not weights:
        raise CheckpointError('the checkpoint has no key that starts with "backbone.": it is not a MaskCo checkpoint.')
    return weights
