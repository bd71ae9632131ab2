"""The gated feed-forward layer of Llama and PaLM."""

from __future__ import annotations

from typing import Any

import jax

from danlu.blueprint import setting
from danlu.nn._shapes import check_last_axis, features, size
from danlu.nn.activations import silu
from danlu.nn.attention.sequence import replaced, tokens
from danlu.nn.initializers import Initializer, get_initializer
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["SwiGLU"]


class SwiGLU(Layer):
    """``y = (silu(x·W_g) ⊙ (x·W_u))·W_d`` on the last axis, as wide as the input; without biases.

    Args:
        hidden: size of the gate; Llama takes about 8/3 of the features, as many parameters as a plain layer of 4.
        initializer: of the three kernels.
        output_initializer: of ``W_d``; None is ``initializer``.

    An array, or a sequence's dict (see :mod:`danlu.nn.attention.sequence`).

    Params: ``{"gate": W_g (features, hidden), "up": W_u (features, hidden), "down": W_d (hidden, features)}``. State: ``{}``.

    Reference: Shazeer (2020), arXiv:2002.05202, eq. 6.

    Example:
        >>> SwiGLU(8).init(jax.random.key(0), (7, 3))[2]
        (7, 3)
    """

    hidden: int = setting(minimum=1, integer=True)
    initializer: str | Initializer = "lecun_normal"
    output_initializer: str | Initializer | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        get_initializer(self.initializer)
        if self.output_initializer is not None:
            get_initializer(self.output_initializer)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        n = features("SwiGLU", tokens(in_shape))
        draw = get_initializer(self.initializer)
        last = draw if self.output_initializer is None else get_initializer(self.output_initializer)
        gate, up, down = jax.random.split(key, 3)
        params = {
            "gate": draw(gate, (n, self.hidden)),
            "up": draw(up, (n, self.hidden)),
            "down": last(down, (self.hidden, n)),
        }
        return params, {}, in_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        given = tokens(x)
        check_last_axis("SwiGLU", given, params["gate"].shape[0])
        flat = given.reshape(-1, given.shape[-1])  # (batch·time, features)
        y = (silu(flat @ params["gate"]) * (flat @ params["up"])) @ params["down"]
        return replaced(x, y.reshape(given.shape)), state

    def flops(self, in_shape: Shape) -> int:
        shape: tuple[int, ...] = tokens(in_shape)
        return size(shape[:-1]) * self.hidden * (6 * shape[-1] + 3)
