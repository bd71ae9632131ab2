"""A different learning rate for each part of a network: full, smaller, or none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from danlu.errors import ConfigError
from danlu.optim.base import InitFn, Optimizer, UpdateFn
from danlu.optim.chain import ChainUpdate
from danlu.optim.clip import clip_by_global_norm, clip_by_norm, clip_by_value
from danlu.optim.extra import FUNCTIONS, call_update, of_other_form
from danlu.optim.hyperparameters import checked, like
from danlu.optim.schedules.base import real
from danlu.paths import check_patterns, leaf_paths, matches

__all__ = ["PartsState", "by_part", "multipliers", "set_parts"]

Parts = Mapping[str, Any] | Callable[[str], Any]
_CLIPS = tuple(clip().update for clip in (clip_by_global_norm, clip_by_norm, clip_by_value))


class PartsState(NamedTuple):
    """The state of :func:`by_part`: the optimizer's own, and for each parameter the multiplier of its updates."""

    inner: Any
    multiplier: Any


def _checked_parts(owner: str, parts: Parts) -> Parts:
    if not callable(parts) and not isinstance(parts, Mapping):
        raise ConfigError(
            f"{owner} received {parts!r} as parts; expected a dict from patterns to multipliers, or a function of the path",
            hint='{"0/*": 0.0, "1": 0.1}: 0 freezes, 1 is the full rate',
        )
    return parts if callable(parts) else {pattern: _multiplier(owner, pattern, v) for pattern, v in parts.items()}


def _multiplier(owner: str, pattern: str, value: Any) -> Any:
    if callable(value):
        raise ConfigError(
            f"{owner}: the multiplier of {pattern!r} is {value!r}; expected a number >= 0",
            hint="give the schedule to the optimizer, and change multipliers between epochs with GradualUnfreezing",
        )
    return checked(owner, f"multiplier of {pattern!r}", value, minimum=0)


def _chosen(owner: str, parts: Parts, paths: list[str], default: list[Any]) -> list[Any]:
    """The multiplier of each path; where no pattern matches, ``default``'s."""
    if callable(parts):
        return [_multiplier(owner, path, parts(path)) for path in paths]
    check_patterns(owner, parts, paths)
    return [
        next((value for pattern, value in parts.items() if matches(path, pattern)), other)
        for path, other in zip(paths, default, strict=True)
    ]


def _init(params: Any, *, inner: InitFn, parts: Parts) -> PartsState:
    paths = leaf_paths(params)
    leaves = [jnp.array(real(m)) for m in _chosen("by_part", parts, paths, [1.0] * len(paths))]
    return PartsState(inner(params), jax.tree.unflatten(jax.tree.structure(params), leaves))


def _only_thawed(multiplier: Any, tree: Any) -> Any:
    """``tree`` with zeros for its frozen leaves, whatever was there."""
    return jax.tree.map(lambda m, leaf: jnp.where(m > 0, leaf, jnp.zeros_like(leaf)), multiplier, tree)


def _of_thawed(multiplier: Any, params: Any, extra: dict[str, Any]) -> dict[str, Any]:
    """The raw gradient of the thawed parts, and the objective as a function of them alone."""
    if "grad" in extra:
        extra["grad"] = _only_thawed(multiplier, extra["grad"])
    for name in FUNCTIONS & set(extra):
        extra[name] = of_other_form(
            extra[name],
            lambda tried: jax.tree.map(lambda m, new, old: jnp.where(m > 0, new, old), multiplier, tried, params),
        )
    return extra


@dataclasses.dataclass(frozen=True)
class PartsUpdate:
    """Transformations of the thawed parts only, then those of all parts. Equal, and one compiled program, if these are."""

    front: tuple[UpdateFn, ...]
    back: tuple[UpdateFn, ...]
    whole: bool  # whether the inner state is that of the one update, not a chain's tuple

    def __call__(self, grads: Any, state: PartsState, params: Any = None, **extra: Any) -> tuple[Any, PartsState]:
        m, olds = state.multiplier, (state.inner,) if self.whole else state.inner
        seen = None if params is None else _only_thawed(m, params)
        extra = _of_thawed(m, params, extra)
        news: list[Any] = []
        raw, grads = grads, _only_thawed(m, grads) if self.front else grads
        for update, old in zip(self.front, olds, strict=False):
            grads, new = call_update(update, grads, old, seen, extra)
            news.append(new)
        if self.front:
            # A frozen part's moments go on: they have the right size on the day it is thawed.
            grads = jax.tree.map(lambda m, g, r: jnp.where(m > 0, g, r), m, grads, raw)
        for update, old in zip(self.back, olds[len(self.front) :], strict=True):
            grads, new = call_update(update, grads, old, seen, extra)
            news.append(new)
        updates = jax.tree.map(lambda m, u: like(m * u, u), m, _only_thawed(m, grads))
        return updates, PartsState(news[0] if self.whole else tuple(news), m)


def by_part(optimizer: Any, parts: Parts) -> Optimizer:
    """``θ ← θ + s·u``: each parameter's update ``u`` times a multiplier ``s`` of its part. 0 freezes, 1 is the full rate.

    Multipliers are arrays in the state: :func:`set_parts` changes them, and so thaws a part, without another compilation, and the
    members of a population may have different ones.

    - A frozen parameter does not change by a bit: no decay either, whatever its gradient.
    - It does not count in the norm of a clipping in ``optimizer``'s chain (as in PyTorch, where it has no gradient). A clipping in
      a chain *around* ``by_part`` does not know of parts and counts everything: put it inside.
    - Its moments are kept up from its true gradients, so that thawing starts with steps of the right size. With moments of 0 and a
      high step count, Adam's first steps would be up to 6 times too long. That also means that freezing saves no time: for
      that, keep the frozen part in the state (:class:`danlu.nn.LoRA`).
    - Weight decay is part of the update: AdamW decays a part by ``s·α·λ``, as parameter groups do in PyTorch.
    - The layer's state is not the optimizer's: a frozen batch norm still moves its running statistics in training, as in
      PyTorch with ``requires_grad=False`` and unlike Keras with ``trainable=False``.

    Args:
        optimizer: an optimizer or chain of danlu's or optax's.
        parts: a dict from patterns (see :mod:`danlu.paths`) to multipliers >= 0, the first pattern that matches counts and
            what none matches has 1; or a function from a path such as ``"0/kernel"`` to a multiplier.

    Returns:
        An optimizer; its updates have the gradients' tree, shapes and dtypes.

    Raises:
        ConfigError: a multiplier out of range; when the state is made, a pattern that matches nothing.

    Reference:
        Howard & Ruder, "Universal language model fine-tuning for text classification" (2018), section 3.2 (discriminative
        fine-tuning).

    Example:
        >>> from danlu.optim import sgd
        >>> optimizer = by_part(sgd(1.0), {"head": 1.0, "body/*": 0.25, "embed": 0.0})
        >>> params = {"embed": jnp.ones(1), "body": {"w": jnp.ones(1)}, "head": jnp.ones(1)}
        >>> updates, state = optimizer.update(params, optimizer.init(params), params)
        >>> [float(updates["embed"][0]), float(updates["body"]["w"][0]), float(updates["head"][0])]
        [0.0, -0.25, -1.0]
    """
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        raise ConfigError(
            f"by_part was given {optimizer!r}; expected an optimizer, which has init and update",
            hint="call the factory: by_part(adamw(1e-3), {...})",
        )
    whole = not isinstance(optimizer.update, ChainUpdate)
    updates = (optimizer.update,) if whole else optimizer.update.updates
    cut = max((index + 1 for index, update in enumerate(updates) if _clips(update)), default=0)
    init = partial(_init, inner=optimizer.init, parts=_checked_parts("by_part", parts))
    return Optimizer(init, PartsUpdate(updates[:cut], updates[cut:], whole))


def _clips(update: UpdateFn) -> bool:
    """Whether a transformation is a clipping, or a chain with one."""
    return any(map(_clips, update.updates)) if isinstance(update, ChainUpdate) else update in _CLIPS


def _states(node: Any) -> list[PartsState]:
    if isinstance(node, PartsState):
        return [node]
    return [found for child in node for found in _states(child)] if isinstance(node, tuple | list) else []


def multipliers(opt_state: Any) -> dict[str, jax.Array]:
    """The multiplier of each parameter by its path, from the state of :func:`by_part`, also inside a chain.

    Raises:
        ConfigError: ``opt_state`` has none.

    Example:
        >>> from danlu.optim import sgd
        >>> state = by_part(sgd(), {"a": 0.5}).init({"a": jnp.ones(2), "b": jnp.ones(2)})
        >>> {path: float(m) for path, m in multipliers(state).items()}
        {'a': 0.5, 'b': 1.0}
    """
    state = _one(opt_state)
    return dict(zip(leaf_paths(state.multiplier), jax.tree.leaves(state.multiplier), strict=True))


def set_parts(opt_state: Any, parts: Parts) -> Any:
    """``opt_state`` with other multipliers; what no pattern matches stays. Nothing recompiles.

    Args:
        opt_state: the state of :func:`by_part`, also inside a chain; a population's too.
        parts: as for :func:`by_part`.

    Raises:
        ConfigError: no :func:`by_part` in ``opt_state``, a pattern that matches nothing, or a multiplier out of range.

    Example:
        >>> from danlu.optim import sgd
        >>> state = by_part(sgd(), {"*": 0.0}).init({"a": jnp.ones(2), "b": jnp.ones(2)})
        >>> {path: float(m) for path, m in multipliers(set_parts(state, {"b": 0.1})).items()}
        {'a': 0.0, 'b': 0.1...}
    """
    state = _one(opt_state)
    old, structure = jax.tree.flatten(state.multiplier)
    new = _chosen("set_parts", _checked_parts("set_parts", parts), leaf_paths(state.multiplier), old)
    leaves = [jnp.array(jnp.broadcast_to(real(n), o.shape)) for n, o in zip(new, old, strict=True)]
    return _replaced(opt_state, state._replace(multiplier=jax.tree.unflatten(structure, leaves)))


def _one(opt_state: Any) -> PartsState:
    found = _states(opt_state)
    if len(found) != 1:
        raise ConfigError(
            f"the optimizer's state has {len(found)} by_part; expected one",
            hint="train with optimizer=by_part(adamw(1e-3), {...})",
        )
    return found[0]


def _replaced(node: Any, new: PartsState) -> Any:
    if isinstance(node, PartsState):
        return new
    if not isinstance(node, tuple | list):
        return node
    children = [_replaced(child, new) for child in node]
    return type(node)(*children) if hasattr(node, "_fields") else type(node)(children)
