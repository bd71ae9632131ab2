"""All parameters as one vector, for an optimizer that treats them all alike."""

from __future__ import annotations

import dataclasses
from typing import Any

from jax.flatten_util import ravel_pytree

from danlu.optim.base import InitFn, Optimizer, UpdateFn
from danlu.optim.extra import FUNCTIONS, call_update, of_other_form

__all__ = ["flatten"]


@dataclasses.dataclass(frozen=True)
class FlattenInit:
    """The inner optimizer's state for all parameters as one vector."""

    init: InitFn

    def __call__(self, params: Any) -> Any:
        return self.init(ravel_pytree(params)[0])


@dataclasses.dataclass(frozen=True)
class FlattenUpdate:
    """The inner optimizer's update of that vector. Equal, and one compiled program, when the inner ones are."""

    update: UpdateFn

    def __call__(self, grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        vector, as_tree = ravel_pytree(grads)
        if "grad" in extra:
            extra["grad"] = ravel_pytree(extra["grad"])[0]
        for name in FUNCTIONS & set(extra):
            extra[name] = of_other_form(extra[name], as_tree)
        seen = None if params is None else ravel_pytree(params)[0]
        updates, state = call_update(self.update, vector, state, seen, extra)
        return as_tree(updates), state


def flatten(optimizer: Any) -> Optimizer:
    """The same updates, from one vector of all parameters: a step is a few kernels, and not a few for each array.

    A network of many small arrays compiles sooner and, on a GPU, steps faster. It costs a copy of the gradients, and of the parameters
    where the optimizer looks at them: large arrays are better left as they are.

    Args:
        optimizer: of danlu's or of optax's, one that does the same to each element or looks at all together: not ``clip_by_norm``, a
            ``mask`` or ``by_part``, which tell arrays apart.

    Returns:
        An optimizer whose updates have the gradients' tree and shapes; its state is the inner one's, of a vector.

    Reference: ``optax.flatten``.

    Example:
        >>> import jax.numpy as jnp
        >>> from danlu.optim import clip_by_global_norm
        >>> clip = flatten(clip_by_global_norm(1.0))
        >>> grads, state = clip.update([jnp.array([3.0]), jnp.array([4.0])], clip.init([jnp.zeros(1), jnp.zeros(1)]))
        >>> [round(float(g[0]), 4) for g in grads]
        [0.6, 0.8]
    """
    return Optimizer(FlattenInit(optimizer.init), FlattenUpdate(optimizer.update))
