"""The parts of CKDN: branches Q and T, comparators C and C', heads f and f' (section 3 of the paper).

Shapes at the official size: image (B, 3, 288, 288), branch (B, 256, 72, 72), comparator (B, 512, 36, 36) -> (B, 512).
"""

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import BasicBlock, Bottleneck

BLOCKS = {18: (BasicBlock, 2, 2), 34: (BasicBlock, 3, 4), 50: (Bottleneck, 3, 4), 101: (Bottleneck, 3, 4)}


class PlainBlock(nn.Module):
    """Two 3x3 convolutions without a shortcut: the comparator of the paper's block ablation."""

    expansion = 4

    def __init__(self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        width = planes * self.expansion
        self.body = nn.Sequential(
            nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False),
            nn.BatchNorm2d(planes),
            nn.ReLU(inplace=True),
            nn.Conv2d(planes, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def make_stage(block: type[nn.Module], channels: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    """A stage of residual blocks; the first one strides (on its 3x3 convolution) and projects the shortcut."""
    width = planes * block.expansion
    shortcut = None
    if block is not PlainBlock and (stride != 1 or channels != width):
        shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
    rest = [block(width, planes) for _ in range(blocks - 1)]
    return nn.Sequential(block(channels, planes, stride, shortcut), *rest)


def make_stem(channels: int, stride: int = 2) -> nn.Conv2d:
    """The 7x7 convolution of a ResNet; unlike there, neither batch norm nor activation follows."""
    return nn.Conv2d(3, channels, 7, stride, 3, bias=False)


def make_head(channels: int, hidden: int, dropout: float) -> nn.Sequential:
    """Features (B, channels) to one logit (B, 1)."""
    return nn.Sequential(
        nn.Linear(channels, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, 1),
    )


def fold_batch_norms(module: nn.Module) -> None:
    """Fold each batch norm into the convolution that stands before it (its neighbour among the children).

    Raises:
        RuntimeError: a batch norm in training mode, whose statistics are not fixed.
    """
    previous, before = None, None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            if child.training:
                raise RuntimeError('batch norms can be folded in evaluation mode only; call eval() first.')
            setattr(module, previous, fuse_conv_bn_eval(before, child))
            setattr(module, name, nn.Identity())
        else:
            fold_batch_norms(child)
        previous, before = name, child


def init_convolutions(module: nn.Module) -> None:
    """Kaiming normal (fan-out, ReLU) for every convolution, as the official code starts before ImageNet weights."""
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            nn.init.kaiming_normal_(child.weight, mode='fan_out', nonlinearity='relu')
