"""The two dense layers between one attention and the next."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.nn._precision import repeated
from danlu.nn._shapes import check_last_axis, features, on_last_axis, size
from danlu.nn.activations import ACTIVATIONS, get_activation
from danlu.nn.attention.sequence import replaced, tokens
from danlu.nn.initializers import Initializer, get_initializer, initializer_for
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["FeedForward"]


class FeedForward(Layer):
    """``y = f(x·W_1 + b_1)·W_2 + b_2`` on the last axis, as wide as the input.

    Args:
        hidden: size between the two products; 4 times the features by custom.
        activation: the name of ``f``.
        use_bias: whether there are ``b_1`` and ``b_2``.
        initializer: of both kernels; None chooses by what follows each.
        output_initializer: of ``W_2``; None is ``initializer``.

    An array, or a sequence's dict (see :mod:`danlu.nn.attention.sequence`).

    Params: ``{"up": W_1 (features, hidden), "down": W_2 (hidden, features)}`` and ``"up_bias"``, ``"down_bias"``. State:
    ``{}``.

    Reference: Vaswani et al. (2017), arXiv:1706.03762, eq. 2.

    Example:
        >>> FeedForward(8, "relu").init(jax.random.key(0), (7, 3))[2]
        (7, 3)
    """

    hidden: int = setting(minimum=1, integer=True)
    activation: str = setting(default="gelu", choices=ACTIVATIONS)
    use_bias: bool = True
    initializer: str | Initializer | None = None
    output_initializer: str | Initializer | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for initializer in (self.initializer, self.output_initializer):
            if initializer is not None:
                get_initializer(initializer)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        n = features("FeedForward", tokens(in_shape))
        draw = get_initializer(self.initializer or initializer_for(self.activation))
        last = get_initializer(self.output_initializer or self.initializer or initializer_for("identity"))
        up, down = jax.random.split(key)
        params = {"up": draw(up, (n, self.hidden)), "down": last(down, (self.hidden, n))}
        if self.use_bias:
            params |= {"up_bias": jnp.zeros((self.hidden,)), "down_bias": jnp.zeros((n,))}
        return params, {}, in_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        given = tokens(x)
        check_last_axis("FeedForward", given, params["up"].shape[0])
        # Two axes throughout: with three, XLA's backward pass of GELU takes 2.5 times as long on a CPU.
        h = given.reshape(-1, given.shape[-1]) @ params["up"]  # (batch·time, hidden)
        h = h + repeated(on_last_axis(params["up_bias"], 2), h.shape) if self.use_bias else h
        h = get_activation(self.activation)(h)
        y = h @ params["down"]
        y = y + repeated(on_last_axis(params["down_bias"], 2), y.shape) if self.use_bias else y
        return replaced(x, y.reshape(given.shape)), state

    def flops(self, in_shape: Shape) -> int:
        shape: tuple[int, ...] = tokens(in_shape)
        products = 4 * shape[-1] * self.hidden + self.hidden * (self.activation != "identity")
        return size(shape[:-1]) * (products + self.use_bias * (self.hidden + shape[-1]))
