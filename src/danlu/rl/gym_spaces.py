"""Gymnasium's spaces in danlu's terms, and how values cross between the two."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import ConfigError
from danlu.rl.spaces import Box, DictSpace, Discrete, MultiDiscrete, Space

__all__ = ["Layout", "action_space", "action_writer", "observation_reader", "observation_space"]

Path = tuple[Any, ...]


def observation_space(space: Any, name: str) -> Space:
    """What Gymnasium's ``space`` of observations is in danlu's terms.

    Boxes of bytes stay bytes, other boxes become float32; ``MultiBinary`` becomes a box of 0 and 1; ``Dict`` and ``Tuple``, nested ones
    too, become one :class:`DictSpace` with names such as ``"arm/angle"`` and ``"0"``.

    Args:
        name: of the environment, for messages.

    Raises:
        ConfigError: the space, or one inside it, has no counterpart.
    """
    if _kind(space) not in ("Dict", "Tuple"):
        return _observed(space, name, "its observation")
    found = [("/".join(map(str, path)), path, leaf) for path, leaf in _leaves(space)]
    if not found:
        raise ConfigError(f"the observation space of {name} is {space}; it contains nothing to learn from")
    named = {text: _observed(leaf, name, f"{text!r} in its observation") for text, _, leaf in found}
    return DictSpace(tuple(sorted(named.items())))


def action_space(space: Any, name: str) -> Space:
    """What Gymnasium's ``space`` of actions is in danlu's terms; ``MultiBinary`` becomes a :class:`MultiDiscrete` of twos.

    Raises:
        ConfigError: it is none of Discrete, MultiDiscrete, MultiBinary and Box.
    """
    kind = _kind(space)
    if kind == "Discrete":
        return Discrete(int(space.n))
    if kind == "MultiDiscrete":
        return MultiDiscrete(tuple(int(n) for n in np.ravel(space.nvec)))
    if kind == "MultiBinary":
        return MultiDiscrete((2,) * math.prod(space.shape))
    if kind == "Box":
        return _box(space, "float32")
    raise ConfigError(
        f"the action space of {name} is {kind}; expected Discrete, MultiDiscrete, MultiBinary or Box",
        hint="wrap the environment so that its actions are one of these",
    )


def observation_reader(space: Any) -> Callable[[Any], list[Any]]:
    """A function from one of Gymnasium's observations to its arrays, in the sequence of :class:`Layout`."""
    if _kind(space) not in ("Dict", "Tuple"):
        one = _read(space)
        return lambda value: [one(value)]
    named = sorted(("/".join(map(str, path)), path, _read(leaf)) for path, leaf in _leaves(space))

    def read(value: Any) -> list[Any]:
        out = []
        for _, path, one in named:
            part = value
            for step in path:
                part = part[step]
            out.append(one(part))
        return out

    return read


def action_writer(space: Any) -> Callable[[np.ndarray], list[Any]]:
    """A function from danlu's actions, one for each environment, to a list of Gymnasium's; those out of bounds are clipped."""
    kind = _kind(space)
    if kind == "Discrete":
        start, last = int(space.start), int(space.n) - 1
        return lambda actions: [
            min(max(action, 0), last) + start for action in actions.astype(np.int64).ravel().tolist()
        ]
    if kind == "MultiDiscrete":
        high, begin = np.asarray(space.nvec) - 1, np.asarray(space.start)

        def pick(actions: np.ndarray) -> list[Any]:
            # (environments, *shape)
            inside = np.clip(actions.astype(np.int64).reshape(-1, *space.shape), 0, high) + begin
            return list(inside.astype(space.dtype))

        return pick
    if kind == "MultiBinary":
        # of (environments, *shape)
        return lambda actions: list((actions.reshape(-1, *space.shape) > 0).astype(space.dtype))

    def turn(actions: np.ndarray) -> list[Any]:
        inside = np.clip(actions.reshape(-1, *space.shape), space.low, space.high)  # (environments, *shape)
        return list((np.rint(inside) if space.dtype.kind in "iu" else inside).astype(space.dtype))

    return turn


@dataclasses.dataclass(frozen=True)
class Layout:
    """How observations cross to the host and back in few arrays, since each array costs time.

    All that is not bytes is written side by side in one row of float32 numbers (in which whole numbers are exact up to 2²⁴); each space of
    bytes is an array of its own.

    Args:
        space: danlu's space of observations.

    Example:
        >>> Layout(DictSpace((("picture", Box(0, 255, (2, 2), "uint8")), ("speed", Box(-1.0, 1.0, (3,)))))).numbers
        3
    """

    space: Space

    @property
    def leaves(self) -> list[Space]:
        """The spaces that are written, in sequence."""
        return [leaf for _, leaf in self.space.entries] if isinstance(self.space, DictSpace) else [self.space]

    @property
    def numbers(self) -> int:
        """How many numbers an observation has."""
        return sum(math.prod(leaf.shape) for leaf in self.leaves if not _bytes(leaf))

    @property
    def pictures(self) -> list[tuple[int, ...]]:
        """The shapes of the arrays of bytes."""
        return [leaf.shape for leaf in self.leaves if _bytes(leaf)]

    def unpack(self, numbers: jax.Array, pictures: list[jax.Array]) -> Any:
        """Observations ``(count, …)`` from ``numbers`` ``(count, numbers)`` and the arrays of bytes."""
        at, bytes_left, values = 0, iter(pictures), []
        for leaf in self.leaves:
            if _bytes(leaf):
                values.append(next(bytes_left))
                continue
            size = math.prod(leaf.shape)
            part = numbers[:, at : at + size].reshape(-1, *leaf.shape)
            values.append(part if leaf.dtype == np.float32 else jnp.round(part).astype(leaf.dtype))
            at += size
        if isinstance(self.space, DictSpace):
            return dict(zip((name for name, _ in self.space.entries), values, strict=True))
        return values[0]


def _bytes(space: Space) -> bool:
    return space.dtype == np.uint8


def _kind(space: Any) -> str:
    """Gymnasium's name for a kind of space, whatever subclass of it this is."""
    from gymnasium import spaces

    for kind in ("Discrete", "MultiDiscrete", "MultiBinary", "Box", "Dict", "Tuple"):
        if isinstance(space, getattr(spaces, kind)):
            return kind
    return type(space).__name__


def _leaves(space: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    kind = _kind(space)
    if kind == "Dict":
        return [found for name, inner in space.spaces.items() for found in _leaves(inner, (*path, name))]
    if kind == "Tuple":
        return [found for place, inner in enumerate(space.spaces) for found in _leaves(inner, (*path, place))]
    return [(path, space)]


def _observed(space: Any, name: str, what: str) -> Space:
    kind = _kind(space)
    if kind == "Discrete":
        return Discrete(int(space.n))
    if kind == "MultiDiscrete":
        return MultiDiscrete(tuple(int(n) for n in np.ravel(space.nvec)))
    if kind == "MultiBinary":
        return Box(0.0, 1.0, tuple(space.shape))
    if kind == "Box":
        return _box(space, "uint8" if space.dtype == np.uint8 else "float32")
    raise ConfigError(
        f"{name}: {what} is in a {kind} space; expected Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of these",
        hint="wrap the environment so that it shows one of these",
    )


def _box(space: Any, kind: str) -> Box:
    def bound(array: Any) -> float | tuple[float, ...]:
        with np.errstate(over="ignore"):
            flat = np.ravel(np.asarray(array).astype(np.float32))
        if flat.size and (flat == flat[0]).all():
            return float(flat[0])
        return tuple(flat.tolist()) if flat.size else 0.0

    return Box(bound(space.low), bound(space.high), tuple(space.shape), kind)


def _read(space: Any) -> Callable[[Any], Any]:
    """From a value of a space to its array, less what it counts from."""
    kind = _kind(space)
    if kind == "Discrete":
        start = int(space.start)
        return lambda value: int(value) - start
    if kind == "MultiDiscrete":
        return lambda value: np.asarray(value) - space.start
    return np.asarray
