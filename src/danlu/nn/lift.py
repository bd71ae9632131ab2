"""Any pair of functions as a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["Lifted", "lift"]


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple)


class Lifted(Layer):
    """A pair of functions as a layer; made by :func:`lift`. It works everywhere but cannot be written to JSON."""

    init_function: Callable[..., Any]
    apply_function: Callable[..., Any]
    takes: str = setting(default="shape", choices=("shape", "example"))

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        example = jax.tree.map(lambda shape: jnp.zeros((1, *shape)), in_shape, is_leaf=_is_shape)
        params = self.init_function(key, example if self.takes == "example" else in_shape)
        out = jax.eval_shape(self.apply_function, params, example)
        return params, {}, jax.tree.map(lambda array: tuple(array.shape[1:]), out)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        return self.apply_function(params, x), state

    def flops(self, in_shape: Shape) -> None:
        return None


def lift(init: Callable[..., Any], apply: Callable[..., Any], *, takes: str = "shape") -> Layer:
    """Two functions as a layer, so that danlu can train any network.

    Args:
        init: ``init(key, in_shape) -> params``; with ``takes="example"`` (Flax and Haiku) ``init(key, example)``, where
            ``example`` is a batch of one example of zeros.
        apply: ``apply(params, x) -> y`` for a batch ``x``; pure.
        takes: ``"shape"`` or ``"example"``.

    Returns:
        A layer without state. Two layers lifted from the same two functions are equal: define the functions once.

    Raises:
        ConfigError: ``init`` or ``apply`` is not callable.

    Example:
        >>> line = lift(lambda key, shape: {"w": jnp.zeros(shape)}, lambda params, x: x @ params["w"])
        >>> line.init(jax.random.key(0), (3,))[2]
        ()
    """
    for name, function in (("init", init), ("apply", apply)):
        if not callable(function):
            raise ConfigError(f"lift received {function!r} as {name}; expected a function")
    return Lifted(init, apply, takes)
