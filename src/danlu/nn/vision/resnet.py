"""Residual networks."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn.combine import Activation, Residual, Sequential
from danlu.nn.conv import Conv
from danlu.nn.dense import Dense
from danlu.nn.initializers import VarianceScaling
from danlu.nn.layer import Layer
from danlu.nn.norm import BatchNorm
from danlu.nn.pool import GlobalAveragePool, MaxPool
from danlu.nn.shorthand import Shorthand

__all__ = ["ResNet"]

# depth -> (blocks of each stage, whether they are bottlenecks)
_DEPTHS: Mapping[int, tuple[tuple[int, ...], bool]] = MappingProxyType(
    {
        18: ((2, 2, 2, 2), False),
        34: ((3, 4, 6, 3), False),
        50: ((3, 4, 6, 3), True),
        101: ((3, 4, 23, 3), True),
        152: ((3, 8, 36, 3), True),
    }
)


class ResNet(Shorthand):
    """A stem, four stages of residual blocks that halve the image and double the channels, a mean, a linear layer.

    It is shorthand: :attr:`expanded` is the same network as a Sequential, with the same params and state. Its parts, in
    order: the stem (convolution, norm, activation and, for ``"imagenet"``, pooling) as one Sequential, four stages (a
    Sequential of blocks each), GlobalAveragePool, Dense: PyTorch's ``conv1, bn1``, ``layer1`` to ``layer4``, ``fc``.

    Args:
        outputs: how many logits.
        depth: 18 or 34 (two 3×3 convolutions a block), 50, 101 or 152 (1×1, 3×3, 1×1).
        stem: ``"imagenet"`` (7×7 by 2, then pooling by 2: for images of about 224×224) or ``"cifar"`` (3×3, for small
            images of about 32×32).
        width: channels of the first stage.

    Input: images ``(batch, height, width, channels)``. Output: logits ``(batch, outputs)``.

    Reference: He, Zhang, Ren & Sun (2016), arXiv:1512.03385, table 1 and section 4. In a bottleneck the 3×3 convolution
    has the stride (as in PyTorch), not the first 1×1.

    Example:
        >>> from danlu.nn.summary import summary
        >>> summary(ResNet(1000), (224, 224, 3)).parameters
        11689512
    """

    outputs: int = setting(minimum=1, integer=True)
    depth: int = 18
    stem: str = setting(default="imagenet", choices=("imagenet", "cifar"))
    width: int = setting(default=64, minimum=1, integer=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth not in _DEPTHS:
            raise ConfigError(f"ResNet.depth is {self.depth!r}; expected one of: {', '.join(map(str, _DEPTHS))}")

    def build(self) -> Sequential:
        stages, bottleneck = _DEPTHS[self.depth]
        large = self.stem == "imagenet"
        stem: list[Layer] = [
            _conv(self.width, 7, 2) if large else _conv(self.width, 3),
            BatchNorm(),
            Activation("relu"),
        ]
        stem += [MaxPool(3, stride=2, padding=1)] if large else []
        layers: list[Layer] = [Sequential(tuple(stem))]
        channels = self.width
        for stage, number in enumerate(stages):
            blocks = []
            for index in range(number):
                stride = 2 if stage > 0 and index == 0 else 1
                block, channels = _block(channels, self.width * 2**stage, stride, bottleneck)
                blocks.append(block)
            layers.append(Sequential(tuple(blocks)))
        return Sequential((*layers, GlobalAveragePool(), Dense(self.outputs)))


def _conv(features: int, size: int, stride: int = 1) -> Conv:
    # A norm follows, so no bias. Padding as numbers: "same" is not symmetric at stride 2.
    draw = VarianceScaling(2.0, "fan_out", "normal")
    return Conv(features, size, stride, padding=size // 2, initializer=draw, use_bias=False)


def _block(inputs: int, width: int, stride: int, bottleneck: bool) -> tuple[Layer, int]:
    """``f(x + s(x))`` and its number of output channels."""
    relu = Activation("relu")
    convs: tuple[Conv, ...]
    if bottleneck:
        outputs = 4 * width
        convs = (_conv(width, 1), _conv(width, 3, stride), _conv(outputs, 1))
    else:
        outputs = width
        convs = (_conv(width, 3, stride), _conv(width, 3))
    path = [layer for conv in convs for layer in (conv, BatchNorm(), relu)][:-1]
    shortcut = None
    if stride > 1 or inputs != outputs:
        shortcut = Sequential((_conv(outputs, 1, stride), BatchNorm()))
    return Sequential((Residual(Sequential(tuple(path)), shortcut), relu)), outputs
