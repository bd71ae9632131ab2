"""A U-Net that is told the time, and a label: what takes noise out of pictures."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn import Conv, ConvTranspose, Dense, Embedding, GroupNorm
from danlu.nn.initializers import Constant
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["TimedBlock", "TimedUNet", "waves"]

_GROUP = 8  # channels that are normalised together, at least
_WAVES = 64


class TimedBlock(Layer):
    """Two normalised convolutions round a shortcut; what is given scales and moves the channels between them.

    ``h = conv(silu(norm(x)))``, ``h = conv₀(silu(norm(h)·(1 + s) + m))`` with ``s, m`` linear in what is given, and ``y = h + x``, where
    ``conv₀`` starts at 0, so that the block starts as its shortcut.

    Args:
        features: channels of the output.

    Input: ``{"x": (batch, height, width, channels), "given": (batch, numbers)}``. Output: ``(batch, height, width, features)``.

    Reference: Dhariwal & Nichol, "Diffusion models beat GANs on image synthesis" (2021), section 3 (adaptive group normalisation).
    """

    features: int = setting(minimum=1, integer=True)

    def _parts(self, in_shape: Any) -> list[tuple[str, Layer, Shape]]:
        *place, channels = in_shape["x"]
        wide = (*place, self.features)
        parts: list[tuple[str, Layer, Shape]] = [
            ("norm1", _norm(channels), in_shape["x"]),
            ("conv1", Conv(self.features, 3), in_shape["x"]),
            ("film", Dense(2 * self.features), in_shape["given"]),
            ("norm2", _norm(self.features), wide),
            ("conv2", Conv(self.features, 3, initializer=Constant(0.0)), wide),
        ]
        return parts + ([("skip", Conv(self.features, 1), in_shape["x"])] if channels != self.features else [])

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        drawn = [layer.init(jax.random.fold_in(key, n), of) for n, (_, layer, of) in enumerate(self._parts(in_shape))]
        return tuple(each[0] for each in drawn), tuple(each[1] for each in drawn), drawn[4][2]

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        shapes = {"x": x["x"].shape[1:], "given": x["given"].shape[1:]}
        own = [
            lambda y, layer=layer, p=p, s=s: layer.apply(p, s, y, train=train)[0]
            for (_, layer, _), p, s in zip(self._parts(shapes), params, state, strict=True)
        ]
        silu = jax.nn.silu
        h = own[1](silu(own[0](x["x"])))
        scale, move = jnp.split(own[2](silu(x["given"]))[:, None, None, :], 2, axis=-1)
        h = own[4](silu(own[3](h) * (1 + scale) + move))
        return h + (own[5](x["x"]) if len(own) > 5 else x["x"]), state

    def flops(self, in_shape: Shape) -> int | None:
        return _flops(self._parts(in_shape))


class TimedUNet(Layer):
    """A U-Net of :class:`TimedBlock`, from a noisy picture and the time (and a label) to as many numbers as the picture has.

    Args:
        widths: channels of each level, the finest first.
        classes: how many labels; label ``classes`` stands for none.
        patch: so many pixels a side are channels of one at the finest level, which takes ``patch²`` times less arithmetic.

    Input: ``{"x": (batch, height, width, channels), "time": (batch,), "label": (batch,)}``, times in 0 … 1. Output: of the form of ``x``.

    Raises:
        ConfigError: at ``init``, sides that ``patch·2^(levels − 1)`` does not divide.

    Reference: Ho, Jain & Abbeel, "Denoising diffusion probabilistic models" (2020), appendix B; here without attention.

    Example:
        >>> TimedUNet((8, 16)).out_shape({"x": (8, 8, 1), "time": (), "label": ()})
        (8, 8, 1)
    """

    widths: tuple[int, ...] = (32, 64)
    classes: int = setting(default=0, minimum=0, integer=True)
    patch: int = setting(default=1, minimum=1, integer=True)

    @property
    def _told(self) -> int:
        return 4 * self.widths[0]

    def _parts(self, in_shape: Any) -> list[tuple[str, Layer, Shape]]:
        height, width, channels = in_shape["x"]
        p, told = self.patch, self._told
        down, across = height // p, width // p
        parts: list[tuple[str, Layer, Shape]] = [
            ("time1", Dense(told, "silu"), (_WAVES,)),
            ("time2", Dense(told), (told,)),
            *([("label", Embedding(self.classes + 1, told), ())] if self.classes else []),
            ("stem", Conv(self.widths[0], 3), (down, across, p * p * channels)),
        ]

        def block(name: str, level: int, inputs: int, features: int) -> tuple[str, Layer, Shape]:
            shape = (down >> level, across >> level, inputs)
            return name, TimedBlock(features), {"x": shape, "given": (told,)}

        last = len(self.widths) - 1
        before = self.widths[0]
        for level, features in enumerate(self.widths):
            parts.append(block(f"down{level}", level, before, features))
            if level < last:
                parts.append((f"halve{level}", Conv(features, 3, 2, 1), (down >> level, across >> level, features)))
            before = features
        parts.append(block("middle", last, before, before))
        for level in range(last - 1, -1, -1):
            features = self.widths[level]
            shape = (down >> level + 1, across >> level + 1, self.widths[level + 1])
            parts.append((f"double{level}", ConvTranspose(features, 2, 2), shape))
            parts.append(block(f"up{level}", level, 2 * features, features))
        fine = (down, across, self.widths[0])
        parts.append(("norm", _norm(self.widths[0]), fine))
        parts.append(("out", Conv(p * p * channels, 3, initializer=Constant(0.0)), fine))
        return parts

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        shape: Any = in_shape
        factor = self.patch * 2 ** (len(self.widths) - 1)
        if any(side % factor for side in shape["x"][:2]):
            raise ConfigError(f"TimedUNet received pictures of {shape['x'][:2]}; expected multiples of {factor}")
        drawn = [layer.init(jax.random.fold_in(key, n), of) for n, (_, layer, of) in enumerate(self._parts(shape))]
        return tuple(each[0] for each in drawn), tuple(each[1] for each in drawn), tuple(shape["x"])

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        picture = x["x"]
        parts = self._parts({"x": picture.shape[1:]})
        place = {name: number for number, (name, _, _) in enumerate(parts)}

        def at(name: str, y: Any) -> Any:
            number = place[name]
            return parts[number][1].apply(params[number], state[number], y, train=train)[0]

        given = at("time2", at("time1", waves(x["time"])))
        if self.classes:
            given = given + at("label", x["label"])
        h, across = at("stem", _patched(picture, self.patch)), []
        last = len(self.widths) - 1
        for level in range(last + 1):
            h = at(f"down{level}", {"x": h, "given": given})
            if level < last:
                across.append(h)
                h = at(f"halve{level}", h)
        h = at("middle", {"x": h, "given": given})
        for level in range(last - 1, -1, -1):
            h = jnp.concatenate([at(f"double{level}", h), across[level]], axis=-1)
            h = at(f"up{level}", {"x": h, "given": given})
        return _whole(at("out", jax.nn.silu(at("norm", h))), self.patch), state

    def flops(self, in_shape: Shape) -> int | None:
        return _flops(self._parts(in_shape))


def waves(time: jax.Array) -> jax.Array:
    """Times ``(batch,)`` in 0 … 1 as sines and cosines of 32 frequencies from 1 to 1000: ``(batch, 64)``.

    Reference: Vaswani et al. (2017), section 3.5, of the time.
    """
    frequencies = jnp.exp(jnp.linspace(0, math.log(1000), _WAVES // 2))
    angles = time[:, None] * frequencies[None]
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def _norm(channels: int) -> GroupNorm:
    """A norm of groups of 8 channels, or of all where 8 do not divide them."""
    return GroupNorm(channels // _GROUP if channels % _GROUP == 0 else 1)


def _patched(x: jax.Array, patch: int) -> jax.Array:
    """``(batch, height, width, channels)`` with the pixels of each patch as channels."""
    n, height, width, channels = x.shape
    cut = x.reshape(n, height // patch, patch, width // patch, patch, channels)
    cut = cut.transpose(0, 1, 3, 2, 4, 5)  # (batch, down, across, patch, patch, channels)
    return cut.reshape(n, height // patch, width // patch, patch * patch * channels)


def _whole(x: jax.Array, patch: int) -> jax.Array:
    """The inverse of :func:`_patched`."""
    n, down, across, channels = x.shape
    cut = x.reshape(n, down, across, patch, patch, channels // (patch * patch))
    cut = cut.transpose(0, 1, 3, 2, 4, 5)  # (batch, down, patch, across, patch, channels)
    return cut.reshape(n, down * patch, across * patch, channels // (patch * patch))


def _flops(parts: list[tuple[str, Layer, Shape]]) -> int | None:
    own = [layer.flops(shape) for _, layer, shape in parts]
    return None if None in own else sum(each or 0 for each in own)
