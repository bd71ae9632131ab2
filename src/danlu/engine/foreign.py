"""Checks, before anything is compiled, whether a training step can run another library's optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from danlu.engine.state import TrainState
from danlu.engine.step import Program, step
from danlu.errors import ConfigError, first_line

__all__ = ["check_optimizer"]

_REFUSED = {
    "DifferentiallyPrivateAggregateState": (
        "differentially_private_aggregate (dpsgd) needs the gradient of each row, but a step computes that of the batch",
        "clip with danlu.optim.clip_by_global_norm, which gives no privacy, or average per-row gradients yourself",
    ),
    "LookaheadState": (
        "lookahead needs two sets of parameters, but a model has one",
        "use its inner optimizer, such as optax.adam, or danlu.optim.adamw with a Cosine schedule",
    ),
    "SAMState": (
        "sam leaves the parameters at its adversarial points between its steps, where they would be evaluated and saved",
        "use its inner optimizer, such as optax.sgd, or danlu.optim.adamw with weight decay",
    ),
    "ScheduleFreeState": (
        "schedule_free trains different parameters from those that it is evaluated and used with (schedule_free_eval_params)",
        "use danlu.optim.adamw with a WarmUp and Cosine schedule",
    ),
}


def _nodes(tree: Any) -> Iterator[Any]:
    """Every container within the state of an optimizer, outside in."""
    if isinstance(tree, dict | tuple | list):
        yield tree
        for child in tree.values() if isinstance(tree, dict) else tree:
            yield from _nodes(child)


def check_optimizer(program: Program, optimizer: Any, params: Any, model_state: Any, batch: Any) -> None:
    """Refuse an optimizer that a step cannot run, or cannot run correctly.

    Args:
        params, model_state, batch: shapes.

    Raises:
        ConfigError: it asks for what a step does not have, or does not keep the form of its state.
    """
    try:
        opt_state = jax.eval_shape(optimizer.init, params)
    except (AttributeError, TypeError, ValueError) as error:
        if isinstance(error, jax.errors.JAXTypeError):
            return  # an init that looks at values, which a shape does not have
        raise ConfigError(
            f"the optimizer's init does not accept the model's parameters: {first_line(error)}"
        ) from error
    kinds = {type(node) for node in _nodes(opt_state) if hasattr(node, "_fields")}
    for kind in kinds:
        if kind.__name__ in _REFUSED:
            what, instead = _REFUSED[kind.__name__]
            raise ConfigError(f"the optimizer cannot be used here: {what}", hint=instead)
    if kinds and all(kind.__module__.startswith("danlu.") for kind in kinds):
        return
    count: Any = jax.ShapeDtypeStruct((), jnp.int32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = TrainState(count, key, params, model_state, opt_state, {})
    try:
        after, _ = jax.eval_shape(lambda state, batch: step(program, state, batch), state, batch)
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"the optimizer's update does not work in a training step: {first_line(error)}",
            hint="a step gives grads, state and params, and by name value, grad, value_fn and obj_fn to an update that takes them",
        ) from error
    forms = [
        [
            (jax.tree_util.keystr(path), leaf.shape, leaf.dtype)
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        ]
        for tree in (opt_state, after.opt_state)
    ]
    if forms[0] != forms[1]:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ConfigError(
            f"the optimizer's update changes the structure of its state ({names}), and a compiled loop needs the same at each step",
            hint="the tree, the shapes and the types of what update returns must be those of what init returns",
        )
