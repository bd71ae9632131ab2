"""Random changes to images, as layers: drawn anew for each image at each training step, nothing outside training.

They take ``(batch, height, width, channels)``, are part of the blueprint, and run on the device inside the training
step, so they cost no pass over the data and need no worker.
"""

from __future__ import annotations

import abc
from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import ConfigError
from danlu.nn._keys import required_key
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["RandomChange"]


class RandomChange(Layer, abc.ABC):
    """A random change of images; a subclass defines it for one image. Params and state: ``{}``.

    Raises:
        ConfigError: at ``init``, inputs that are not images; ``apply`` in training without a key.
    """

    @abc.abstractmethod
    def changed(self, key: jax.Array, image: jax.Array) -> jax.Array:
        """``image`` ``(height, width, channels)`` after the change drawn from ``key``; the same shape."""

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        if not isinstance(in_shape, tuple) or len(in_shape) != 3:
            raise ConfigError(
                f"{type(self).__name__} received inputs of shape {in_shape!r}; expected images (height, width, channels)"
            )
        return {}, {}, in_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        if not train:
            return x, state
        keys = jax.random.split(required_key(type(self).__name__, key), x.shape[0])
        return like(jax.vmap(self.changed)(keys, x), x), state


def like(changed: jax.Array, x: jax.Array) -> jax.Array:
    """``changed`` in the floating type of ``x``: positions and draws are 32 bits even where images are bfloat16."""
    return changed.astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else changed
