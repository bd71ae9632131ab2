"""The optimizer contract: optax's protocol, with every hyper-parameter an array in the state.

``init(params) -> state`` and ``update(grads, state, params) -> (updates, state)``; new parameters are
``params + updates``. Any optax transformation satisfies it, and ours go wherever an optax one does.

``update`` is a *module-level function without closure*: everything that can change (learning rate, momenta, decay) is
an array in the state. Two ``adam`` of different learning rates are therefore one compiled program, and a population
can hold another value in each member under ``vmap``.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

__all__ = ["Optimizer", "UpdateFn", "zeros_like"]


class UpdateFn(Protocol):
    """``update(grads, state, params) -> (updates, state)``."""

    def __call__(self, grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]: ...


class InitFn(Protocol):
    """``init(params) -> state``."""

    def __call__(self, params: Any) -> Any: ...


class Optimizer(NamedTuple):
    """A pair of pure functions; the same fields as ``optax.GradientTransformation``."""

    init: InitFn
    update: UpdateFn


@jax.jit
def zeros_like(params: Any) -> Any:
    """Zeros with the parameters' shapes and types, from one program for the whole tree."""
    return jax.tree.map(jnp.zeros_like, params)
