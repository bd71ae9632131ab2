"""How a loss or a metric counts in a mean over rows: a value for each row, or one for the batch.

A function ``(outputs, targets)`` that returns a value for each row is weighed row by row, and its mean over an epoch does not depend on
how the rows were divided into batches. One that returns a *scalar* is a statement about the batch as a whole (a variance, InfoNCE, an
area under a curve). It counts with the batch's Σ w, and is never taken apart:

- A function with a third argument, or one called ``weights``, is given the rows' weights; rows of weight 0 fill the last batch up.
- One without sees complete batches only: in training the rows that fill no batch are left out of the epoch (others in the next);
  weights that differ are refused.
- To judge, rows are drawn in one fixed sequence and divided evenly into batches of at most the training's size, so that no batch is
  filled up and none is tiny; what is reported is the mean of the batches' values, each counted by its rows.
- Micro-batches and devices take a batch apart, and are refused.

A loss that needs more than outputs and targets is an :class:`Objective`.
"""

from __future__ import annotations

import abc
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint
from danlu.errors import ConfigError

__all__ = ["Objective", "TakesWeights", "direction_of", "measure_of", "name_of", "value_of", "weighed"]

_WEIGHTS = ("weights", "weight", "sample_weight")  # what an argument for weights is called


class Objective(Blueprint, abc.ABC):
    """What training makes small, when outputs and targets do not say it all: a function of parameters, state, batch and key.

    ``objective(params, state, batch, key, train=…) -> (value, state, measures)``. It applies the network itself, as often and to what it
    likes. Subclass it (a subclass is a frozen dataclass, so that two equal ones are one compiled program) and pass it as ``loss``.

    Args (of the call):
        params, state: the network's.
        batch: ``{"x", "y", "weight"}``; rows of weight 0 fill the last batch up and must not count.
        key: for random draws; to judge, the same at each epoch.
        train: whether this is a step of training; to judge, the returned state is left out.

    Returns (of the call):
        ``value``: one a row ``(batch,)``, which the engine weighs by ``batch["weight"]``, or a scalar for the batch, in which the weights
        have been seen to. ``state``: the network's state after. ``measures``: a dict of further values of either form, which stand
        in the history.

    Attributes:
        directions: for measures that may be monitored, ``{"name": "min" or "max"}``.

    Example:
        >>> from danlu import fit, nn
        >>> class Smooth(Objective):
        ...     model: nn.Layer
        ...     def __call__(self, params, state, batch, key, *, train):
        ...         x = batch["x"]
        ...         y, state = self.model.apply(params, state, x, train=train, key=key)
        ...         near, _ = self.model.apply(params, state, x + 0.01 * jax.random.normal(key, x.shape), train=False)
        ...         error = jnp.square(y[:, 0] - batch["y"])
        ...         return error + jnp.square(y - near)[:, 0], state, {"error": error}
        >>> x = jnp.linspace(-1, 1, 8)[:, None]
        >>> fitted = fit(nn.Dense(1), (x, x[:, 0]), loss=Smooth(nn.Dense(1)), epochs=1, display="none")
        >>> sorted(name for name in fitted.history[0] if name in ("loss", "error"))
        ['error', 'loss']
    """

    directions: ClassVar[Mapping[str, str]] = {}

    @abc.abstractmethod
    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[jax.Array, Any, dict[str, jax.Array]]:
        """See the class."""


@dataclasses.dataclass(frozen=True)
class TakesWeights:
    """A function ``(outputs, targets, weights) -> scalar``.

    Attributes:
        function: the user's.
        keyword: what the weights are called, where they are given by name.
    """

    function: Callable[..., Any]
    keyword: str | None = None

    def __call__(self, outputs: Any, targets: Any, weights: jax.Array) -> jax.Array:
        if self.keyword is not None:
            return self.function(outputs, targets, **{self.keyword: weights})
        return self.function(outputs, targets, weights)


def measure_of(function: Callable[..., Any], kind: str) -> Callable[..., Any]:
    """``function`` as it is, or as :class:`TakesWeights` when it has an argument for weights.

    Raises:
        ConfigError: it needs other arguments than outputs, targets and weights.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a built-in function does not tell
        return function
    named = next((p.name for p in parameters if p.name in _WEIGHTS), None)
    if isinstance(function, Objective) or named is not None:
        return function if named is None else TakesWeights(function, named)
    needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    any_number = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    too_many = len(needed) > 3 or any(p.kind is p.KEYWORD_ONLY for p in needed)
    if too_many or (len(positional) < 2 and not any_number):
        raise ConfigError(
            f"the {kind} {name_of(function)} takes ({', '.join(p.name for p in parameters)}); expected (outputs, targets) or "
            "(outputs, targets, weights)",
            hint="what needs the parameters, the state or a random key is a danlu.engine.Objective",
        )
    return TakesWeights(function) if len(needed) == 3 else function


def value_of(measure: Callable[..., Any], outputs: Any, targets: Any, weight: jax.Array) -> jax.Array:
    """What ``measure`` says of a batch: ``(batch,)``, or a scalar."""
    if isinstance(measure, TakesWeights):
        return measure(outputs, targets, weight)
    return measure(outputs, targets)


def weighed(value: jax.Array, weight: jax.Array, *, complete: bool) -> tuple[jax.Array, jax.Array]:
    """``(Σ w·v, Σ w)`` of values ``(batch,)``; of a scalar ``(v·Σ w, Σ w)``.

    Args:
        complete: whether a scalar counts only when every row does; a batch that is filled up is then ``(0, 0)``.
    """
    total, value = jnp.sum(weight), jnp.asarray(value)
    if value.ndim:
        return jnp.sum(weight * value), total
    total = jnp.where(jnp.all(weight > 0) if complete else total > 0, total, 0)
    return jnp.where(total > 0, total * value, 0), total


def name_of(measure: Any) -> str:
    """What a loss or metric is called: the name of the function or of the class."""
    measure = measure.function if isinstance(measure, TakesWeights) else measure
    return getattr(measure, "__name__", None) or type(measure).__name__


def direction_of(measure: Any) -> str | None:
    """``"min"`` or ``"max"``: which values of a loss or metric are better, as it declares in ``direction``; None: it does not."""
    measure = measure.function if isinstance(measure, TakesWeights) else measure
    found = getattr(measure, "direction", None)
    if found not in (None, "min", "max"):
        raise ConfigError(f"the direction of {name_of(measure)} is {found!r}; expected 'min' or 'max'")
    return found
