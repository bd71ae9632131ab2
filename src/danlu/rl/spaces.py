"""The spaces of observations and actions that environments declare.

They mean what Gymnasium's spaces of the same names mean, and are blueprints, so that a saved agent knows its observations.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError

__all__ = ["Box", "DictSpace", "Discrete", "MultiDiscrete", "Slate", "Space"]


class Space(Blueprint):
    """A set of values; base of all spaces."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one value."""
        raise NotImplementedError

    @property
    def dtype(self) -> Any:
        """The NumPy type of a value."""
        raise NotImplementedError

    def sample(self, key: jax.Array) -> Any:
        """A value drawn uniformly; an unbounded side is drawn from a standard normal or exponential distribution."""
        raise NotImplementedError

    def contains(self, value: Any) -> bool:
        """Whether ``value`` (on the host) is in the space."""
        raise NotImplementedError


class Discrete(Space):
    """The whole numbers 0 … n − 1.

    Example:
        >>> Discrete(3).contains(2), Discrete(3).contains(3)
        (True, False)
    """

    n: int = setting(minimum=1, integer=True)

    @property
    def shape(self) -> tuple[int, ...]:
        """``()``."""
        return ()

    @property
    def dtype(self) -> Any:
        """int32."""
        return np.int32

    def sample(self, key: jax.Array) -> jax.Array:
        return jax.random.randint(key, (), 0, self.n)

    def contains(self, value: Any) -> bool:
        array = np.asarray(value)
        return array.shape == () and array.dtype.kind in "iu" and 0 <= int(array) < self.n


class MultiDiscrete(Space):
    """Several whole numbers, each 0 … n − 1 with its own n."""

    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.sizes or any(int(n) != n or n < 1 for n in self.sizes):
            raise ConfigError(f"MultiDiscrete.sizes is {self.sizes!r}; expected whole numbers >= 1")

    @property
    def shape(self) -> tuple[int, ...]:
        """``(len(sizes),)``."""
        return (len(self.sizes),)

    @property
    def dtype(self) -> Any:
        """int32."""
        return np.int32

    def sample(self, key: jax.Array) -> jax.Array:
        return jax.random.randint(key, self.shape, 0, jnp.array(self.sizes))

    def contains(self, value: Any) -> bool:
        array = np.asarray(value)
        right = array.shape == self.shape and array.dtype.kind in "iu"
        return right and bool(((array >= 0) & (array < np.array(self.sizes))).all())


class Slate(Space):
    """``k`` different ones of ``n`` things, in an order: what stands first, second, ….

    Example:
        >>> Slate(5, 3).contains(np.array([4, 0, 2])), Slate(5, 3).contains(np.array([4, 4, 2]))
        (True, False)
    """

    n: int = setting(minimum=1, integer=True)
    k: int = setting(minimum=1, integer=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k > self.n:
            raise ConfigError(f"Slate has {self.k} places for {self.n} things; expected as many things or more")

    @property
    def shape(self) -> tuple[int, ...]:
        """``(k,)``."""
        return (self.k,)

    @property
    def dtype(self) -> Any:
        """int32."""
        return np.int32

    def sample(self, key: jax.Array) -> jax.Array:
        return jax.random.permutation(key, self.n)[: self.k].astype(jnp.int32)

    def contains(self, value: Any) -> bool:
        array = np.asarray(value)
        right = array.shape == self.shape and array.dtype.kind in "iu" and len(np.unique(array)) == self.k
        return right and bool(((array >= 0) & (array < self.n)).all())


class Box(Space):
    """Arrays of one shape with bounds.

    Args:
        low, high: a number for all, or a tuple with one for each entry in the sequence of ``np.ravel``; ``-inf`` and ``inf`` are no bound.
        size: the shape.
        kind: ``"float32"`` or ``"uint8"`` (pictures).

    Example:
        >>> space = Box((-1.0, 0.0), 1.0, (2,))
        >>> space.low_array.tolist(), space.contains(np.float32([0.5, -0.5]))
        ([-1.0, 0.0], False)
    """

    low: float | tuple[float, ...]
    high: float | tuple[float, ...]
    size: tuple[int, ...] = ()
    kind: str = setting(default="float32", choices=("float32", "uint8"))

    def __post_init__(self) -> None:
        for name, none in (("low", -math.inf), ("high", math.inf)):
            bound = getattr(self, name)
            bound = (
                tuple(none if b is None else b for b in bound)
                if isinstance(bound, tuple)
                else none
                if bound is None
                else bound
            )
            object.__setattr__(self, name, bound)  # JSON has no infinity, and writes null
        super().__post_init__()
        for name, bound in (("low", self.low), ("high", self.high)):
            if isinstance(bound, tuple) and len(bound) != math.prod(self.size):
                raise ConfigError(f"Box.{name} has {len(bound)} numbers for the shape {self.size}")
        if not (self.low_array <= self.high_array).all():
            raise ConfigError(f"Box.low is {self.low}, above high = {self.high}")

    @property
    def low_array(self) -> np.ndarray:
        """The lower bounds, of the space's shape."""
        return _spread(self.low, self.size)

    @property
    def high_array(self) -> np.ndarray:
        """The upper bounds, of the space's shape."""
        return _spread(self.high, self.size)

    @property
    def bounded(self) -> bool:
        """Whether every entry has both bounds."""
        return bool(np.isfinite(self.low_array).all() and np.isfinite(self.high_array).all())

    @property
    def shape(self) -> tuple[int, ...]:
        """``size``."""
        return self.size

    @property
    def dtype(self) -> Any:
        """As ``kind`` says."""
        return np.dtype(self.kind).type

    def sample(self, key: jax.Array) -> jax.Array:
        low, high = self.low_array, self.high_array
        if self.kind == "uint8":
            drawn = jax.random.randint(key, self.size, low.astype(np.int32), high.astype(np.int32) + 1)
            return drawn.astype(jnp.uint8)
        below, above = np.isfinite(low), np.isfinite(high)
        uniform_key, normal_key, tail_key = jax.random.split(key, 3)
        inside = jax.random.uniform(
            uniform_key, self.size, jnp.float32, np.where(below, low, 0), np.where(above, high, 1)
        )
        tail, normal = jax.random.exponential(tail_key, self.size), jax.random.normal(normal_key, self.size)
        outside = jnp.where(
            below, np.where(below, low, 0) + tail, jnp.where(above, np.where(above, high, 0) - tail, normal)
        )
        return jnp.where(below & above, inside, outside)

    def contains(self, value: Any) -> bool:
        array = np.asarray(value)
        right = array.shape == self.size and np.can_cast(array.dtype, self.dtype, "same_kind")
        return right and bool(((array >= self.low_array) & (array <= self.high_array)).all())


class DictSpace(Space):
    """Several spaces by name; a value is a dict.

    Args:
        entries: ``((name, space), …)``, sorted by name.
    """

    entries: tuple[tuple[str, Space], ...]

    @property
    def spaces(self) -> dict[str, Space]:
        """The spaces by name."""
        return dict(self.entries)

    @property
    def shape(self) -> Any:
        """A dict of shapes."""
        return {name: space.shape for name, space in self.entries}

    @property
    def dtype(self) -> Any:
        """A dict of types."""
        return {name: space.dtype for name, space in self.entries}

    def sample(self, key: jax.Array) -> dict[str, Any]:
        return {name: space.sample(jax.random.fold_in(key, i)) for i, (name, space) in enumerate(self.entries)}

    def contains(self, value: Any) -> bool:
        spaces = self.spaces
        return (
            isinstance(value, dict)
            and set(value) == set(spaces)
            and all(space.contains(value[name]) for name, space in spaces.items())
        )


def _spread(bound: float | tuple[float, ...], size: tuple[int, ...]) -> np.ndarray:
    if isinstance(bound, tuple):
        return np.array(bound, np.float32).reshape(size)
    return np.full(size, bound, np.float32)
