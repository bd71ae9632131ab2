"""Weight decay as part of the gradient (L2), and the mask that says which parameters decay."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from danlu.errors import ConfigError, unknown_name
from danlu.optim.base import Optimizer
from danlu.optim.hyperparameters import checked, current, like, next_step, stored, zero_step

__all__ = ["WeightDecayState", "weight_decay"]

Mask = str | Callable[[Any], Any] | Any
_NAMES = ("all", "weights")


class WeightDecayState(NamedTuple):
    """The state of :func:`weight_decay`: λ, finished updates, and 0 or 1 for each parameter (or None: decay all)."""

    weight_decay: Any
    step: jax.Array
    mask: Any

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """The fields that are hyper-parameters."""
        return ("weight_decay",)


def checked_mask(owner: str, mask: Mask) -> Mask:
    """``mask`` unless it is an unknown name."""
    if isinstance(mask, str) and mask not in _NAMES:
        raise unknown_name(f"{owner}.mask", mask, _NAMES)
    return mask


def stored_mask(mask: Mask, params: Any) -> Any:
    """The mask as it is kept in the state: None for "all", else 0.0 or 1.0 for each parameter."""
    if isinstance(mask, str):
        return None if mask == "all" else jax.tree.map(lambda p: jnp.float32(jnp.ndim(p) >= 2), params)
    tree = mask(params) if callable(mask) else mask
    received, expected = jax.tree.structure(tree), jax.tree.structure(params)
    if received != expected:  # type: ignore[operator]
        raise ConfigError(
            f"the mask's tree is {received}; expected the parameters', {expected}",
            hint='give one boolean for each parameter, or mask="weights"',
        )
    return jax.tree.map(lambda on: jnp.asarray(on, jnp.float32), tree)


def _init(params: Any, *, weight_decay: Any, mask: Mask) -> WeightDecayState:
    return WeightDecayState(stored(weight_decay), zero_step(), stored_mask(mask, params))


def _update(grads: Any, state: WeightDecayState, params: Any = None) -> tuple[Any, WeightDecayState]:
    decay = current(state.weight_decay, state.step)
    if state.mask is None:
        grads = jax.tree.map(lambda g, p: like(g + decay * p, g), grads, params)
    else:
        grads = jax.tree.map(lambda g, p, on: like(g + decay * on * p, g), grads, params, state.mask)
    return grads, state._replace(step=next_step(state.step))


def weight_decay(weight_decay: Any = 1e-4, *, mask: Mask = "all") -> Optimizer:
    """Add ``λ·θ`` to the gradient: the gradient of the penalty ``λ/2·|θ|²``. Put it before the optimizer in a chain.

    For Adam's decoupled form see :func:`danlu.optim.adamw`.

    Args:
        weight_decay: λ >= 0: a number, an array, a schedule or a function of the step count.
        mask: which parameters decay: "all", "weights" (arrays of two or more axes), a tree of booleans like the
            parameters, or a function from parameters to such a tree.

    Returns:
        A transformation of gradients whose ``update`` needs ``params``.

    Raises:
        ConfigError: a value out of range.

    Reference:
        Krogh & Hertz, "A simple weight decay can improve generalization" (1991).

    Example:
        >>> import jax.numpy as jnp
        >>> params = jnp.array([4.0])
        >>> decay = weight_decay(0.5)
        >>> grads, state = decay.update(jnp.ones(1), decay.init(params), params)
        >>> grads.tolist()
        [3.0]
    """
    strength = checked("weight_decay", "weight_decay", weight_decay, minimum=0)
    return Optimizer(partial(_init, weight_decay=strength, mask=checked_mask("weight_decay", mask)), _update)
