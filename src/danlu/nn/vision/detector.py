"""A compact one-stage detector: a convolutional network that predicts a class and a box for each cell of a grid."""

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

__all__ = ["Detector"]

COARSEST = 16  # the stride of the smallest map


class Detector(Shorthand):
    """Objects in an image: for each cell of a grid whether there is one, of which class, and its box.

    A stem and three stages of 3×3 convolutions halve the image down to 1/16; transposed convolutions bring what was seen there
    back up and put it beside the finer maps, to one grid of cells of ``stride`` pixels. Two branches read the grid: one for the
    classes, one for the box and how well it fits. It is shorthand: :attr:`expanded` is the same network as a Sequential.

    Args:
        classes: how many classes.
        stride: the side of a cell in pixels: 8, or 4 for objects of less than about 16 pixels.
        width: channels of the stem; the stages have 2, 4 and 6 times as many.
        size: the side of a usual object in pixels, which boxes start from.

    Input: images ``(batch, height, width, channels)`` whose sides are multiples of 16. Output:
    ``(batch, height/stride, width/stride, 5 + classes)``: ``z_x, z_y, z_w, z_h``, the object's logit, the classes' logits; see
    :func:`~danlu.nn.cells.read_cells`.

    Raises:
        ConfigError: at ``init``, sides that are not multiples of 16.

    Reference:
        The head is that of YOLOX (Ge et al. 2021, arXiv:2107.08430, section 2: anchor-free, decoupled, one box a cell); one grid
        after coming back up is CenterNet's (Zhou, Wang & Krähenbühl 2019, arXiv:1904.07850). Here there is one grid instead of
        a pyramid of three, classes exclude each other (softmax), the backbone is a few plain convolutions, and boxes start from
        ``size`` instead of the stride. For the loss see :class:`~danlu.nn.losses.DetectionLoss`.

    Example:
        >>> Detector(10, width=4).out_shape((64, 96, 3))
        (8, 12, 15)
    """

    classes: int = setting(minimum=1, integer=True)
    stride: int = setting(default=8, minimum=4, maximum=8, integer=True)
    width: int = setting(default=16, minimum=1, integer=True)
    size: float = setting(default=16.0, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride not in (4, 8):
            raise ConfigError(f"Detector.stride is {self.stride}; expected 4 or 8")

    def build(self) -> Sequential:
        w = self.width
        coarse = Sequential((MaxPool(2), *_convs(6 * w), *_convs(6 * w), *_up(4 * w)))
        middle: list[Layer] = [
            MaxPool(2), *_convs(4 * w), *_convs(4 * w), Parallel((Sequential(), coarse)), *_convs(4 * w),
        ]  # fmt: skip
        neck = middle
        if self.stride == 4:
            neck = [Parallel((Sequential(), Sequential((*middle, *_up(2 * w))))), *_convs(4 * w)]
        where = Sequential((*_convs(4 * w), Conv(5, 1)))
        what = Sequential((*_convs(4 * w), Conv(self.classes, 1)))
        return Sequential((*_convs(w, 5, 2), MaxPool(2), *_convs(2 * w), *neck, Parallel((where, what))))

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        height, width, _ = image_shape("Detector", in_shape) if len(in_shape) == 3 else (1, 1, 1)
        if height % COARSEST or width % COARSEST:
            raise ConfigError(
                f"Detector received inputs of shape {in_shape}; expected images whose sides are multiples of {COARSEST}",
                hint="resize the images to such a size; ImageEncoder does it",
            )
        return self.expanded.init(key, in_shape)


def _convs(features: int, kernel: int = 3, stride: int = 1) -> tuple[Layer, ...]:
    conv = Conv(features, kernel, stride, kernel // 2, initializer=initializer_for("relu"), use_bias=False)
    return conv, BatchNorm(), Activation("relu")


def _up(features: int) -> tuple[Layer, ...]:
    return ConvTranspose(features, 2, 2, use_bias=False), BatchNorm(), Activation("relu")
