"""Windows over spatial axes: sizes, strides and padding as users write them, checked and spelled out."""

from __future__ import annotations

import numbers
from typing import Any

from danlu.errors import ConfigError
from danlu.nn._shapes import array_shape
from danlu.nn.layer import Shape

__all__ = ["Padding", "Sizes", "check_padding", "check_sizes", "image_shape", "pads", "per_axis"]

Sizes = int | tuple[int, ...]
Padding = str | int | tuple[int, ...] | tuple[tuple[int, int], ...]


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= least


def check_sizes(owner: str, field: str, value: Any) -> Sizes:
    """``value`` if it is a size >= 1 or one for each axis; lists become tuples."""
    if _whole(value, 1):
        return int(value)
    if isinstance(value, tuple | list) and value and all(_whole(v, 1) for v in value):
        return tuple(map(int, value))
    raise ConfigError(
        f"{owner}.{field} is {value!r}; expected a whole number >= 1, or a tuple with one for each spatial axis"
    )


def check_padding(owner: str, value: Any) -> Padding:
    """``value`` if it is a padding."""
    if isinstance(value, str) and value in ("same", "valid"):
        return value
    if _whole(value, 0):
        return int(value)
    if isinstance(value, tuple | list) and value:
        if all(_whole(v, 0) for v in value):
            return tuple(map(int, value))
        if all(isinstance(v, tuple | list) and len(v) == 2 and all(_whole(n, 0) for n in v) for v in value):
            return tuple((int(a), int(b)) for a, b in value)
    raise ConfigError(
        f'{owner}.padding is {value!r}; expected "same", "valid", or zeros at each side >= 0: a number, '
        "one for each spatial axis, or a pair (before, after) for each"
    )


def per_axis(owner: str, field: str, value: Sizes, rank: int) -> tuple[int, ...]:
    """One size for each of ``rank`` axes."""
    if isinstance(value, int):
        return (value,) * rank
    if len(value) != rank:
        raise ConfigError(f"{owner}.{field} is {value}; the input has {rank} spatial axes")
    return value


def pads(
    owner: str,
    padding: Padding,
    spatial: tuple[int, ...],
    window: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[tuple[int, int], ...]:
    """The padding as (before, after) for each axis."""
    if padding == "valid":
        return ((0, 0),) * len(spatial)
    if padding == "same":
        found = []
        for n, k, s, d in zip(spatial, window, stride, dilation, strict=True):
            total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
            found.append((total // 2, total - total // 2))
        return tuple(found)
    each: Any = (padding,) * len(spatial) if isinstance(padding, int) else padding
    if len(each) != len(spatial):
        raise ConfigError(f"{owner}.padding is {padding}; the input has {len(spatial)} spatial axes")
    return tuple((pad, pad) if isinstance(pad, int) else pad for pad in each)


def image_shape(owner: str, in_shape: Shape) -> tuple[int, ...]:
    """``in_shape`` as (one to three spatial sizes, channels)."""
    shape = array_shape(owner, in_shape)
    if not 2 <= len(shape) <= 4 or min(shape) < 1:
        raise ConfigError(
            f"{owner} received examples of shape {shape}; expected one to three spatial axes and channels, none empty",
            hint="a grey image needs an axis of one channel: (28, 28, 1)" if len(shape) < 3 else None,
        )
    return shape
