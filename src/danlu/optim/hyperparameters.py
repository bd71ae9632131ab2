"""Hyper-parameters as part of the optimizer's state: checked, stored, read, changed, and told the validation value.

A state is a NamedTuple whose property ``hyperparameters`` names the fields that are hyper-parameters; each of these
holds a floating array or a :class:`~danlu.optim.schedules.Schedule`. The functions that walk a state find such tuples at
any depth: through :func:`~danlu.optim.chain`, through ``optax.chain``, and on ``optax.inject_hyperparams``.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting, validate
from danlu.errors import unknown_name
from danlu.optim.schedules import Function, Schedule
from danlu.optim.schedules.base import as_array, is_array, real

__all__ = [
    "apply_updates",
    "hyperparameter",
    "observe",
    "set_hyperparameter",
    "with_hyperparameters",
    "without_hyperparameters",
]

_INJECTED = "hyperparams"  # the dict that optax.inject_hyperparams keeps in its state


def checked(owner: str, name: str, value: Any, **rules: Any) -> Any:
    """``value`` if the hyper-parameter may be it: a number within ``rules``, an array, a schedule or a function.

    Raises:
        ConfigError: a number out of range, or something else.
    """
    if isinstance(value, Schedule) or is_array(value):
        return value
    if callable(value):
        return Function(value)
    validate(owner, name, value, setting(**rules).metadata["rules"])
    return value


def stored(value: Any) -> Any:
    """A checked hyper-parameter as it is kept in the state: arrays with fixed dtypes.

    A number becomes float32, or float64 under ``jax_enable_x64``.
    Arrays are copied: a step that donates its state would delete the caller's.
    """
    if isinstance(value, Schedule):
        return jax.tree.map(lambda leaf: jnp.array(as_array(leaf)), value)
    return jnp.array(real(value))


def current(value: Any, step: jax.Array) -> jax.Array:
    """The value of a stored hyper-parameter after ``step`` finished updates."""
    return value(step) if isinstance(value, Schedule) else value


_compiled_current = jax.jit(current)  # asked for outside a program: one compilation, not one an operation


def zero_step() -> jax.Array:
    """The number of finished updates at the start."""
    return jnp.zeros((), jnp.int32)


def next_step(step: jax.Array) -> jax.Array:
    """``step + 1``, staying at the largest int32 instead of turning negative."""
    return jnp.minimum(step, jnp.iinfo(jnp.int32).max - 1) + 1


def like(value: jax.Array, leaf: jax.Array) -> jax.Array:
    """``value`` in the dtype of ``leaf``: arithmetic with wider scalars may have widened it."""
    return value.astype(leaf.dtype)


def apply_updates(params: Any, updates: Any) -> Any:
    """``params + updates``, each leaf in its parameter's dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> apply_updates({"w": jnp.ones(2)}, {"w": jnp.full(2, -0.25)})["w"].tolist()
        [0.75, 0.75]
    """
    return jax.tree.map(lambda p, u: like(p + u, p), params, updates)


def observe(opt_state: Any, value: Any) -> Any:
    """``opt_state`` after an epoch whose validation value was ``value``: every schedule in it is told.

    Pure; a population is ``jax.vmap(observe)(opt_state, values)``.

    Example:
        >>> from danlu.optim import ReduceOnPlateau, sgd
        >>> state = sgd(ReduceOnPlateau(1.0, factor=0.5, patience=1)).init({})
        >>> state = observe(observe(state, 0.3), 0.4)
        >>> float(hyperparameter(state, "learning_rate"))
        0.5
    """
    return jax.tree.map(
        lambda node: node.observe(value) if isinstance(node, Schedule) else node,
        opt_state,
        is_leaf=lambda node: isinstance(node, Schedule),
    )


def hyperparameter(opt_state: Any, name: str = "learning_rate") -> jax.Array:
    """The value that the next update will use for the hyper-parameter ``name`` (the first found).

    Returns:
        A scalar; with a leading axis for a population's state.

    Raises:
        ConfigError: no part of ``opt_state`` has it.

    Example:
        >>> from danlu.optim import adam
        >>> float(hyperparameter(adam(0.5).init({}), "learning_rate"))
        0.5
    """
    known: set[str] = set()
    for node in _holders(opt_state):
        names = _names(node)
        known.update(names)
        if name in names:
            injected = _injected(node)
            current: jax.Array = injected[name] if injected else _compiled_current(getattr(node, name), node.step)
            return current
    raise unknown_name("hyper-parameter", name, known)


def set_hyperparameter(opt_state: Any, name: str, value: Any) -> Any:
    """``opt_state`` with the hyper-parameter ``name`` set to ``value`` wherever it occurs.

    A number or array takes the shape of what it replaces: a number sets a whole population, a vector each of its
    members, and nothing recompiles. Putting a number in place of a schedule, or the reverse, changes the tree: the
    next step compiles again.

    Raises:
        ConfigError: no part of ``opt_state`` has it.

    Example:
        >>> from danlu.optim import sgd
        >>> float(set_hyperparameter(sgd(0.5).init({}), "learning_rate", 0.25).learning_rate)
        0.25
    """
    known = {each for node in _holders(opt_state) for each in _names(node)}
    if name not in known:
        raise unknown_name("hyper-parameter", name, known)

    def changed(node: Any) -> Any:
        if not _names(node):
            return node
        if _injected(node):
            old = _injected(node)
            return node._replace(**{_INJECTED: {**old, name: _fit(value, old[name])}}) if name in old else node
        return node._replace(**{name: _fit(value, getattr(node, name))}) if name in _names(node) else node

    return _rebuild(opt_state, changed)


def with_hyperparameters(opt_state: Any, of: Any) -> Any:
    """``opt_state`` with every hyper-parameter of another state of the same optimizer: what was learnt and counted stays.

    A schedule is asked for the count of finished updates, which stays as well: the rate goes on where the other schedule would be by
    now. What a schedule has been told (:class:`~danlu.optim.ReduceOnPlateau`) is the other's.

    Example:
        >>> import jax.numpy as jnp
        >>> from danlu.optim import adam
        >>> old = adam(0.5)
        >>> _, state = old.update(jnp.ones(2), old.init(jnp.zeros(2)))
        >>> state = with_hyperparameters(state, adam(0.1).init(jnp.zeros(2)))
        >>> round(float(state.learning_rate), 4), int(state.step), round(float(state.mean[0]), 4)
        (0.1, 1, 0.1)
    """
    if isinstance(opt_state, dict):
        return {key: with_hyperparameters(child, of[key]) for key, child in opt_state.items()}
    if not isinstance(opt_state, tuple | list):
        return opt_state
    children = [with_hyperparameters(*pair) for pair in zip(opt_state, of, strict=True)]
    if not hasattr(opt_state, "_fields"):
        return type(opt_state)(children)
    changed: Any = type(opt_state)(*children)
    held = {name: getattr(of, name) for name in getattr(opt_state, "hyperparameters", ())}
    return changed._replace(**held, **({_INJECTED: _injected(of)} if _injected(of) else {}))


def without_hyperparameters(opt_state: Any) -> Any:
    """``opt_state`` with None for every hyper-parameter: the form of what is learnt and counted, which no schedule changes.

    :func:`with_hyperparameters` puts those of another state in.

    Example:
        >>> import jax
        >>> from danlu.optim import Cosine, WarmUp, adam
        >>> one, other = (without_hyperparameters(adam(rate).init({})) for rate in (Cosine(0.5, 9), WarmUp(Cosine(0.5, 9), 2)))
        >>> jax.tree.structure(one) == jax.tree.structure(other)
        True
    """

    def changed(node: Any) -> Any:
        held = dict.fromkeys(getattr(node, "hyperparameters", ()))
        injected = {_INJECTED: dict.fromkeys(_injected(node))} if _injected(node) else {}
        return node._replace(**held, **injected)

    return _rebuild(opt_state, changed)


def _fit(value: Any, old: Any) -> Any:
    if isinstance(value, Schedule):
        return stored(value)
    if not isinstance(value, numbers.Real) and not is_array(value):
        return stored(checked("set_hyperparameter", "value", value))
    shape = () if isinstance(old, Schedule) else jnp.shape(old)
    return jnp.array(jnp.broadcast_to(real(value), shape))


def _injected(node: Any) -> dict[str, Any]:
    found = getattr(node, _INJECTED, None)
    return found if isinstance(found, dict) else {}


def _names(node: Any) -> tuple[str, ...]:
    return (*getattr(node, "hyperparameters", ()), *_injected(node))


def _children(node: Any) -> tuple[Any, ...]:
    if isinstance(node, dict):
        return tuple(node.values())
    return tuple(node) if isinstance(node, tuple | list) else ()


def _holders(node: Any) -> Iterator[Any]:
    """Every NamedTuple within ``node`` that has hyper-parameters, outside in."""
    if isinstance(node, tuple) and _names(node):
        yield node
    for child in _children(node):
        yield from _holders(child)


def _rebuild(node: Any, change: Callable[[Any], Any]) -> Any:
    """``node`` with ``change`` applied to every tuple with hyper-parameters, inside out."""
    if isinstance(node, dict):
        return {key: _rebuild(child, change) for key, child in node.items()}
    if not isinstance(node, tuple | list):
        return node
    children = [_rebuild(child, change) for child in node]
    return change(type(node)(*children)) if hasattr(node, "_fields") else type(node)(children)
