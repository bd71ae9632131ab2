"""Optimizers and gradient transformations one after the other."""

from __future__ import annotations

import dataclasses
from typing import Any

from danlu.errors import ConfigError
from danlu.optim.base import InitFn, Optimizer, UpdateFn
from danlu.optim.extra import call_update

__all__ = ["chain"]


@dataclasses.dataclass(frozen=True)
class ChainInit:
    """The initial states of the parts, as a tuple."""

    inits: tuple[InitFn, ...]

    def __call__(self, params: Any) -> tuple[Any, ...]:
        return tuple(init(params) for init in self.inits)


@dataclasses.dataclass(frozen=True)
class ChainUpdate:
    """The parts' updates in order. Equal, and one compiled program, when the parts are."""

    updates: tuple[UpdateFn, ...]

    def __call__(
        self, grads: Any, state: tuple[Any, ...], params: Any = None, **extra: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        new_states = []
        for update, old in zip(self.updates, state, strict=True):
            grads, new = call_update(update, grads, old, params, extra)
            new_states.append(new)
        return grads, tuple(new_states)


def chain(*optimizers: Any) -> Optimizer:
    """Each one's updates are the next one's gradients: clipping first, the optimizer last.

    Args:
        *optimizers: optimizers of danlu's or of optax's, at least one.

    Returns:
        An optimizer whose state is the tuple of theirs.

    Raises:
        ConfigError: nothing given, or something without ``init`` and ``update``.

    Example:
        >>> import jax.numpy as jnp
        >>> from danlu.optim import clip_by_global_norm, sgd
        >>> optimizer = chain(clip_by_global_norm(1.0), sgd(0.5))
        >>> updates, state = optimizer.update(jnp.array([3.0, 4.0]), optimizer.init(jnp.zeros(2)))
        >>> [round(float(u), 4) for u in updates]
        [-0.3, -0.4]
    """
    if not optimizers:
        raise ConfigError("chain() was given nothing; expected at least one optimizer", hint="chain(adam(1e-3))")
    for part in optimizers:
        if not (callable(getattr(part, "init", None)) and callable(getattr(part, "update", None))):
            raise ConfigError(
                f"chain() was given {part!r}; expected optimizers, which have init and update",
                hint="call the factory: chain(clip_by_global_norm(1.0), adam(1e-3))",
            )
    return Optimizer(
        ChainInit(tuple(part.init for part in optimizers)), ChainUpdate(tuple(part.update for part in optimizers))
    )
