"""Checks what an objective of one's own returns, before anything is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from danlu.engine.objective import InPrecision, Objective
from danlu.errors import ConfigError, shorten
from danlu.paths import named_leaves

__all__ = ["check_hashable", "check_same", "check_weighed", "said_by"]

_FORM = "return values, state, measures: one value per row or a dict of terms, the network's state, and a dict ({} for none)"


def check_hashable(objective: Objective) -> None:
    """Refuse an objective that holds what cannot be a part of the compile key, such as an array.

    Raises:
        ConfigError: see above.
    """
    try:
        hash(objective)
    except TypeError as error:
        raise ConfigError(
            f"{_name(objective)} cannot be compared with others, because of one of its fields ({error})",
            hint="a field can be a number, a text, a tuple or a layer; an array can be a constant of the module, or in the batch",
        ) from error


def said_by(
    objective: Objective, params: Any, model_state: Any, batch: Any, key: Any, train: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The shapes of the terms and of the measures that the objective gives of a batch.

    Raises:
        ConfigError: it returns something else.
    """
    returned = jax.eval_shape(lambda *args: objective(*args, train=bool(train)), params, model_state, batch, key)
    if not isinstance(returned, tuple) or len(returned) != 3:
        found = f"a tuple of {len(returned)}" if isinstance(returned, tuple) else "one value"
        raise ConfigError(f"{_name(objective)} returns {found}; expected a tuple of 3", hint=_FORM)
    values, after, measures = returned
    terms = dict(values) if isinstance(values, Mapping) else {"loss": values}
    if not terms:
        raise ConfigError(f"{_name(objective)} returns no term, so there is nothing to minimise", hint=_FORM)
    if not isinstance(measures, Mapping):
        kind = "None" if measures is None else "something else"
        raise ConfigError(f"{_name(objective)} returns {kind} as its measures; expected a dict", hint=_FORM)
    if train:
        _check_state(objective, model_state, after)
    return terms, dict(measures)


def check_weighed(objective: Objective, params: Any, model_state: Any, batch: dict[str, Any], key: Any) -> None:
    """Refuse a number of the whole batch that goes by its rows and not by their weights: rows that fill the last batch up would count.

    Raises:
        ConfigError: such a term or measure, and the objective does not say that it is of complete batches.
    """

    def numbers(batch: Any, params: Any, model_state: Any, key: Any) -> dict[str, jax.Array]:
        values, _, measures = objective(params, model_state, batch, key, train=True)
        terms = values if isinstance(values, Mapping) else {"loss": values}
        return {name: value for name, value in {**terms, **measures}.items() if jnp.ndim(value) == 0}

    closed, said = jax.make_jaxpr(numbers, return_shape=True)(batch, params, model_state, key)
    inputs = dict(zip((name for name, _ in named_leaves(batch)), closed.jaxpr.invars, strict=False))
    weight = {inputs.pop("weight")}
    by_weight, by_rows = (_reached(closed.jaxpr, start) for start in (weight, set(inputs.values())))
    for name, number in zip(jax.tree.leaves({name: name for name in said}), closed.jaxpr.outvars, strict=True):
        if number in by_rows and number not in by_weight and name not in objective.complete:
            raise ConfigError(
                f"{_name(objective)} returns {name!r} as one number for the batch, and does not use batch['weight'] for it; "
                "rows of weight 0, which fill the last batch up, would count",
                hint="weigh the rows, or return one value per row; or write complete = frozenset({"
                f"{name!r}}}) in the class: then only full batches count",
            )


def _reached(jaxpr: Any, start: set[Any]) -> set[Any]:
    """The variables of a program that are computed from ``start``."""
    found = set(start)
    for equation in jaxpr.eqns:
        if any(not isinstance(each, Literal) and each in found for each in equation.invars):
            found.update(equation.outvars)
    return found


def check_same(objective: Objective, judged: tuple[Any, Any], trained: tuple[Any, Any]) -> None:
    """Refuse an objective that gives other terms or measures to judge than in training.

    Raises:
        ConfigError: see above.
    """
    for kind, one, other in zip(("terms", "measures"), judged, trained, strict=True):
        if one.keys() != other.keys():
            raise ConfigError(
                f"{_name(objective)} returns the {kind} {_listed(other)} with train=True and {_listed(one)} with train=False; "
                "expected the same names",
                hint="jnp.zeros(len(batch['weight'])) for what is left out; a term of weight 0 is not in the loss",
            )


def _check_state(objective: Objective, before: Any, after: Any) -> None:
    """Refuse a state of another form: the next step is compiled for this one."""
    old, new = (
        {name: tuple(leaf.shape) for name, leaf in named_leaves(tree)} if jax.tree.leaves(tree) else {}
        for tree in (before, after)
    )
    forms: list[Any] = [jax.tree.structure(tree) for tree in (before, after)]
    if forms[0] == forms[1] and old == new:
        return
    other = next((f"{name} of shape {new[name]}" for name in new if old.get(name) != new[name]), "less than that")
    raise ConfigError(
        f"{_name(objective)} returns a state of another form than the network's: it has {other}",
        hint="return the state that model.apply gives, or the one that was received",
    )


def _name(objective: Objective) -> str:
    own = objective.objective if isinstance(objective, InPrecision) else objective
    return f"the objective {type(own).__name__}"


def _listed(names: Any) -> str:
    return shorten(list(names)) if names else "(none)"
