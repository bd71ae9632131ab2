"""Convolution and transposed convolution over one, two or three spatial axes, channels last."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError, DataError
from danlu.nn._precision import narrowed, repeated
from danlu.nn._shapes import check_last_axis, on_last_axis, size
from danlu.nn._windows import Padding, Sizes, check_padding, check_sizes, image_shape, pads, per_axis
from danlu.nn.activations import ACTIVATIONS, get_activation
from danlu.nn.conv_ops import Window, convolve, input_gradient
from danlu.nn.initializers import Initializer, get_initializer, initializer_for
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["Conv", "ConvTranspose"]


class Conv(Layer):
    """``y = f(x ⋆ W + b)``: each output is a weighted sum over a window of the input, the same weights everywhere.

    ``(x ⋆ W)[q, o] = Σ_{k, c} x[stride·q + dilation·k − before, c]·W[k, c, o]``, with ``x`` taken as 0 outside: what the
    field calls convolution is cross-correlation. One class for sequences, images and volumes: the number of spatial
    axes is the input's.

    Args:
        features: output channels.
        kernel_size: the window, one size for each spatial axis or one for all, >= 1.
        stride: steps of the window, likewise.
        padding: ``"same"`` (the output has ``⌈n/stride⌉`` positions; an odd zero goes after), ``"valid"`` (none), or zeros
            on both sides: a number, one for each axis, or a pair (before, after) for each axis. ``((k − 1, 0),)`` is
            causal.
        dilation: distance between the window's elements.
        groups: the channels are cut into so many groups, and each output channel sees one of them. ``groups`` equal to
            the input's channels is depthwise.
        activation: the name of ``f``.
        initializer: of ``W`` (a name or an Initializer); None chooses by ``activation``. ``b`` starts at 0.
        use_bias: whether there is a ``b``.

    Params: ``{"kernel": (*window, inputs // groups, features), "bias": (features,)}``. State: ``{}``.

    Reference: LeCun et al. (1998), "Gradient-based learning applied to document recognition", section II. PyTorch's
    ``padding="same"`` and Keras's agree with ours at stride 1; at larger strides ours is Keras's.

    Example:
        >>> layer = Conv(16, 3, stride=2, activation="relu")
        >>> params, state, out_shape = layer.init(jax.random.key(0), (28, 28, 3))
        >>> out_shape, params["kernel"].shape
        ((14, 14, 16), (3, 3, 3, 16))
        >>> Conv(8, 5, padding="valid").out_shape((100, 2))
        (96, 8)
    """

    features: int = setting(minimum=1, integer=True)
    kernel_size: Sizes = 3
    stride: Sizes = 1
    padding: Padding = "same"
    dilation: Sizes = 1
    groups: int = setting(default=1, minimum=1, integer=True)
    activation: str = setting(default="identity", choices=ACTIVATIONS)
    initializer: str | Initializer | None = None
    use_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("kernel_size", "stride", "dilation"):
            object.__setattr__(self, field, check_sizes("Conv", field, getattr(self, field)))
        object.__setattr__(self, "padding", check_padding("Conv", self.padding))
        if self.features % self.groups:
            raise ConfigError(
                f"Conv has {self.features} features in {self.groups} groups; expected a multiple of the groups"
            )
        if self.initializer is not None:
            get_initializer(self.initializer)

    def how(self, spatial: tuple[int, ...]) -> tuple[tuple[int, ...], Window]:
        """The window on an input of ``spatial`` sizes, and how it moves."""
        rank = len(spatial)
        window, stride, dilation = (
            per_axis("Conv", field, getattr(self, field), rank) for field in ("kernel_size", "stride", "dilation")
        )
        around = pads("Conv", self.padding, spatial, window, stride, dilation)
        return window, Window(stride, around, dilation, self.groups)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        *spatial, channels = image_shape("Conv", in_shape)
        window, how = self.how(tuple(spatial))
        if channels % self.groups:
            raise ConfigError(f"Conv received {channels} channels for {self.groups} groups; expected a multiple")
        out = how.out(tuple(spatial), window)
        if min(out) < 1:
            raise ConfigError(
                f"Conv has a window of {window} for an input of {tuple(spatial)}; expected it to fit",
                hint='padding="same" keeps the size',
            )
        draw = initializer_for(self.activation) if self.initializer is None else get_initializer(self.initializer)
        shape = (*window, channels // self.groups, self.features)
        params = {"kernel": draw(key, shape)}
        if self.use_bias:
            params["bias"] = jnp.zeros((self.features,))
        return params, {}, (*out, self.features)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        kernel = params["kernel"]
        check_last_axis("Conv", x, kernel.shape[-2] * self.groups)
        check_rank("Conv", x, kernel)
        return get_activation(self.activation)(self.linear(params, narrowed(x, kernel))), state

    def linear(self, params: Params, x: jax.Array) -> jax.Array:
        """``x ⋆ W + b``, before the activation: ``(batch, *spatial, channels)`` to ``(batch, *spatial, filters)``."""
        y = convolve(x, params["kernel"].astype(x.dtype), self.how(x.shape[1:-1])[1])
        return y + repeated(on_last_axis(params["bias"], y.ndim), y.shape) if self.use_bias else y

    def flops(self, in_shape: Shape) -> int:
        shape = image_shape("Conv", in_shape)
        window, how = self.how(shape[:-1])
        each = 2 * math.prod(window) * shape[-1] // self.groups + self.use_bias + (self.activation != "identity")
        return size(how.out(shape[:-1], window)) * self.features * each


class ConvTranspose(Layer):
    """The adjoint of a convolution, which spreads each input over a window of the output: upsampling by ``stride``.

    ``y[p, o] = f(Σ x[q, c]·W[k, c, o] + b[o])`` over all ``stride·q + k − before = p``.

    Args:
        features: output channels.
        kernel_size: the window, one size for each spatial axis or one for all, >= 1.
        stride: the factor of upsampling.
        padding: what is cut off the output: ``"same"`` (the output has ``n·stride`` positions), ``"valid"`` (nothing: it
            has ``(n − 1)·stride + kernel_size``), or a number, one for each axis, or a pair for each axis.
        activation: the name of ``f``.
        initializer: of ``W``; None chooses by ``activation``. ``b`` starts at 0.
        use_bias: whether there is a ``b``.

    Params: ``{"kernel": (*window, inputs, features), "bias": (features,)}``. State: ``{}``.

    Reference: Dumoulin & Visin (2016), arXiv:1603.07285, chapter 4. Sizes are PyTorch's (``output_padding`` 0); Keras
    differs for ``"valid"`` where the stride is larger than the window.

    Example:
        >>> ConvTranspose(8, 2, stride=2).out_shape((7, 7, 16))
        (14, 14, 8)
    """

    features: int = setting(minimum=1, integer=True)
    kernel_size: Sizes = 2
    stride: Sizes = 2
    padding: Padding = "same"
    activation: str = setting(default="identity", choices=ACTIVATIONS)
    initializer: str | Initializer | None = None
    use_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("kernel_size", "stride"):
            object.__setattr__(self, field, check_sizes("ConvTranspose", field, getattr(self, field)))
        object.__setattr__(self, "padding", check_padding("ConvTranspose", self.padding))
        if self.initializer is not None:
            get_initializer(self.initializer)

    def how(self, spatial: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...], Window]:
        """The window, the output's spatial shape, and the convolution from output to input that this transposes."""
        rank = len(spatial)
        window, stride = (
            per_axis("ConvTranspose", field, getattr(self, field), rank) for field in ("kernel_size", "stride")
        )
        ones = (1,) * rank
        if self.padding == "same":
            out = tuple(n * s for n, s in zip(spatial, stride, strict=True))
            around = pads("ConvTranspose", "same", out, window, stride, ones)
        else:
            around = pads("ConvTranspose", self.padding, spatial, window, stride, ones)
            axes = zip(spatial, window, stride, around, strict=True)
            out = tuple((n - 1) * s + k - sum(pad) for n, k, s, pad in axes)
        return window, out, Window(stride, around, ones)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        *spatial, channels = image_shape("ConvTranspose", in_shape)
        window, out, _ = self.how(tuple(spatial))
        if min(out) < 1:
            raise ConfigError(f"ConvTranspose cuts everything off: padding {self.padding} of an output of {out}")
        draw = initializer_for(self.activation) if self.initializer is None else get_initializer(self.initializer)
        params = {"kernel": draw(key, (*window, channels, self.features))}
        if self.use_bias:
            params["bias"] = jnp.zeros((self.features,))
        return params, {}, (*out, self.features)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        check_last_axis("ConvTranspose", x, params["kernel"].shape[-2])
        check_rank("ConvTranspose", x, params["kernel"])
        x = narrowed(x, params["kernel"])
        return get_activation(self.activation)(self.linear(params, x)), state

    def linear(self, params: Params, x: jax.Array) -> jax.Array:
        """The output before the activation."""
        _, out, how = self.how(x.shape[1:-1])
        kernel = jnp.swapaxes(params["kernel"].astype(x.dtype), -1, -2)
        y = input_gradient(x, kernel, (x.shape[0], *out, self.features), how)
        return y + repeated(on_last_axis(params["bias"], y.ndim), y.shape) if self.use_bias else y

    def flops(self, in_shape: Shape) -> int:
        shape = image_shape("ConvTranspose", in_shape)
        window, out, _ = self.how(shape[:-1])
        each = self.use_bias + (self.activation != "identity")
        return self.features * (2 * size(shape) * math.prod(window) + size(out) * each)


def check_rank(owner: str, x: jax.Array, kernel: jax.Array) -> None:
    """Raise DataError unless ``x`` has the spatial axes that the kernel was made for."""
    if x.ndim != kernel.ndim:
        axes = ", ".join("n" * (kernel.ndim - 2))
        raise DataError(f"{owner} received an array of shape {x.shape}; expected (batch, {axes}, channels)")
