"""ConvNeXt: a convolutional network with the proportions of a Transformer."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn._precision import repeated
from danlu.nn._shapes import check_last_axis, features, on_last_axis, size
from danlu.nn.combine import Residual, Sequential
from danlu.nn.conv import Conv
from danlu.nn.dense import Dense
from danlu.nn.initializers import TruncatedNormal
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.norm import LayerNorm
from danlu.nn.pool import GlobalAveragePool
from danlu.nn.shorthand import Shorthand

__all__ = ["ConvNeXt", "LayerScale"]


class LayerScale(Layer):
    """``y = γ ⊙ x`` along the last axis, ``γ`` small at first: a residual path that starts almost closed.

    Args:
        initial: what every ``γ`` starts at.

    Params: ``{"scale": γ (features,)}``. State: ``{}``.

    Reference: Touvron et al. (2021), arXiv:2103.17239, section 2.

    Example:
        >>> LayerScale(0.5).apply({"scale": jnp.array([0.5])}, {}, jnp.array([[4.0]]))[0].tolist()
        [[2.0]]
    """

    initial: float = setting(default=1e-6)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {"scale": jnp.full((features("LayerScale", in_shape),), self.initial)}, {}, in_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        check_last_axis("LayerScale", x, params["scale"].shape[0])
        return x * repeated(on_last_axis(params["scale"], x.ndim), x.shape), state

    def flops(self, in_shape: Shape) -> int:
        return size(in_shape)


class ConvNeXt(Shorthand):
    """Stages of blocks (depthwise 7×7, norm, two dense layers of each pixel) between norms and 2×2 downsampling.

    It is shorthand: :attr:`expanded` is the same network as a Sequential, with the same params and state. The defaults
    are ConvNeXt-T.

    Args:
        outputs: how many logits.
        depths: blocks of each stage, >= 1.
        dims: channels of each stage, as many as depths.
        patch: the stem's window and stride in pixels: 4 for images of about 224×224, 1 or 2 for small ones.
        scale: what the residual paths' :class:`LayerScale` starts at.

    Input: images ``(batch, height, width, channels)``. Output: logits ``(batch, outputs)``.

    Reference: Liu et al. (2022), arXiv:2201.03545, section 2 and figure 4; without stochastic depth.

    Example:
        >>> net = ConvNeXt(10, depths=(1, 1), dims=(8, 16), patch=2)
        >>> net.init(jax.random.key(0), (8, 8, 3))[2]
        (10,)
    """

    outputs: int = setting(minimum=1, integer=True)
    depths: tuple[int, ...] = (3, 3, 9, 3)
    dims: tuple[int, ...] = (96, 192, 384, 768)
    patch: int = setting(default=4, minimum=1, integer=True)
    scale: float = setting(default=1e-6)

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("depths", "dims"):
            value = getattr(self, field)
            if not isinstance(value, tuple | list) or not value or not all(isinstance(n, int) and n > 0 for n in value):
                raise ConfigError(f"ConvNeXt.{field} is {value!r}; expected a tuple of whole numbers >= 1")
            object.__setattr__(self, field, tuple(value))
        if len(self.depths) != len(self.dims):
            raise ConfigError(
                f"ConvNeXt has {len(self.depths)} depths and {len(self.dims)} dims; expected one of each for a stage"
            )

    def build(self) -> Sequential:
        draw, norm = TruncatedNormal(0.02), LayerNorm(1e-6)
        layers: list[Layer] = []
        for stage, (depth, dim) in enumerate(zip(self.depths, self.dims, strict=True)):
            down = Conv(
                dim, self.patch if stage == 0 else 2, self.patch if stage == 0 else 2, "valid", initializer=draw
            )
            layers.append(Sequential((down, norm) if stage == 0 else (norm, down)))
            block = Residual(
                Sequential(
                    (
                        Conv(dim, 7, groups=dim, initializer=draw),
                        norm,
                        Dense(4 * dim, "gelu", draw),
                        Dense(dim, initializer=draw),
                        LayerScale(self.scale),
                    )
                )
            )
            layers.append(Sequential((block,) * depth))
        return Sequential((*layers, GlobalAveragePool(), norm, Dense(self.outputs, initializer=draw)))
