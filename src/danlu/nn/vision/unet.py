"""U-Net: an image in, a map of the same size out."""

from __future__ import annotations

import jax

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn._windows import image_shape
from danlu.nn.combine import Activation, Parallel, Sequential
from danlu.nn.conv import Conv, ConvTranspose
from danlu.nn.initializers import initializer_for
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.norm import BatchNorm
from danlu.nn.pool import MaxPool
from danlu.nn.shorthand import Shorthand

__all__ = ["UNet"]


class UNet(Shorthand):
    """Down by pooling, up by transposed convolution, and at every size a bridge across: dense prediction.

    It is shorthand: :attr:`expanded` is the same network as a Sequential, with the same params and state. A level is two
    convolutions, then the bridge beside everything below (concatenated), then two convolutions.

    Args:
        outputs: channels of the map (logits of each pixel).
        widths: channels of each level, the finest first; at least one.
        norm: ``"batch"`` or ``"none"``: between each convolution and its ReLU.

    Input: images ``(batch, *spatial, channels)`` whose sizes ``2^(levels − 1)`` divides. Output:
    ``(batch, *spatial, outputs)``.

    Raises:
        ConfigError: at ``init``, sizes that cannot be halved so often.

    Reference: Ronneberger, Fischer & Brox (2015), arXiv:1505.04597, figure 1. Here convolutions pad, so that the map
    has the image's size and nothing is cropped; batch norm is not in the paper.

    Example:
        >>> UNet(2, widths=(4, 8)).init(jax.random.key(0), (8, 8, 3))[2]
        (8, 8, 2)
    """

    outputs: int = setting(minimum=1, integer=True)
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    norm: str = setting(default="batch", choices=("batch", "none"))

    def __post_init__(self) -> None:
        super().__post_init__()
        value = self.widths
        if not isinstance(value, tuple | list) or not value or not all(isinstance(n, int) and n > 0 for n in value):
            raise ConfigError(f"UNet.widths is {value!r}; expected a tuple of whole numbers >= 1")
        object.__setattr__(self, "widths", tuple(value))

    def build(self) -> Sequential:
        level = Sequential(tuple(_pair(self, self.widths[-1])))
        for width in reversed(self.widths[:-1]):
            below = Sequential((MaxPool(2), level, ConvTranspose(width, 2, 2)))
            bridge = Parallel((Sequential(), below))
            level = Sequential((*_pair(self, width), bridge, *_pair(self, width)))
        return Sequential((level, Conv(self.outputs, 1)))

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        spatial, factor = image_shape("UNet", in_shape)[:-1], 2 ** (len(self.widths) - 1)
        if any(n % factor for n in spatial):
            raise ConfigError(
                f"UNet with {len(self.widths)} levels received an image of {spatial}; expected multiples of {factor}",
                hint="pad or crop the image, or use fewer widths",
            )
        return self.expanded.init(key, in_shape)


def _pair(net: UNet, width: int) -> list[Layer]:
    if net.norm == "none":
        return [Conv(width, 3, activation="relu"), Conv(width, 3, activation="relu")]
    conv = Conv(width, 3, initializer=initializer_for("relu"), use_bias=False)
    return [conv, BatchNorm(), Activation("relu"), conv, BatchNorm(), Activation("relu")]
