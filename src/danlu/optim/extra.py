"""Further arguments of an update besides gradients, state and parameters: the value, the raw gradient, the objective as a function.

Optax's ``GradientTransformationExtraArgs`` take such arguments by name: ``polyak_sgd`` and ``contrib.reduce_on_plateau`` the ``value``,
``lbfgs`` and its line searches also ``grad`` and ``value_fn``, ``contrib.sophia`` the same function as ``obj_fn``. An update is given
those that its signature has room for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["FUNCTIONS", "call_update", "of_other_form"]

FUNCTIONS = frozenset({"value_fn", "obj_fn"})
"""Those that are the objective as a function of the parameters."""


def of_other_form(objective: Callable[..., Any], restored: Callable[[Any], Any]) -> Callable[..., Any]:
    """``objective`` as a function of parameters that ``restored`` brings back into their own form."""
    # A chain of optax's hands every name to all its parts, and a line search those that its value_fn knows on to it.
    return lambda params, obj_fn=None: objective(restored(params))


def call_update(
    update: Callable[..., tuple[Any, Any]], grads: Any, state: Any, params: Any, extra: Mapping[str, Any]
) -> tuple[Any, Any]:
    """``update(grads, state, params)`` with the entries of ``extra`` that it accepts.

    >>> import jax.numpy as jnp
    >>> from danlu.optim import sgd
    >>> optimizer = sgd(0.5)
    >>> grads = params = jnp.ones(1)
    >>> updates, state = call_update(optimizer.update, grads, optimizer.init(params), params, {"value": 1.0})
    >>> updates.tolist()
    [-0.5]
    """
    if not extra:
        return update(grads, state, params)
    known = inspect.signature(update).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in known):
        names = {p.name for p in known}
        extra = {name: value for name, value in extra.items() if name in names}
    return update(grads, state, params, **extra)
