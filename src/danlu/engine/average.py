"""The mean of the weights that training passes through, as a part of its state: EMA at each step, SWA at the end of each epoch.

Both are one update. With ``d`` the decay, ``m`` the mass so far (0 at the start) and ``θ`` the weights,

    m ← d·m + 1,    θ̄ ← θ + (1 − 1/m)·(θ̄ − θ),

so that ``θ̄ = Σ_i d^(t−i) θ_i / Σ_i d^(t−i)``: an exponential moving average without a trace of the initial weights, and with ``d = 1``
the plain mean. What is not trained but moves, such as the running statistics of batch norm, is averaged with the weights.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import ConfigError

__all__ = ["AVERAGES", "Average", "decay_for", "taken_in"]

AVERAGES = {"ema": "step", "swa": "epoch"}
"""The averages by name, and after what each takes the weights in."""

_SHARE = 0.03  # of all updates: about so many of the latest ones the moving average is of
_LAST = int(np.iinfo(np.int32).max)
_DECAY = 0.999  # where the number of updates is not known


def decay_for(steps: int | None) -> float:
    """The decay of a moving average for a training of so many updates: the mean of about the latest 3 % of them.

    >>> decay_for(10_000), decay_for(100), decay_for(None)
    (0.9966666666666667, 0.6666666666666667, 0.999)
    """
    return _DECAY if steps is None else 1 - 1 / max(1.0, _SHARE * steps)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Average:
    """The mean of weights so far.

    Its numbers are arrays, so that members of a population may differ in them and no other value compiles anything.

    Attributes:
        params, model_state: the mean; of arrays of whole numbers and keys the latest.
        mass: Σ d^(t−i) over the weights that were taken in, 0 before the first.
        decay: d, from 0 to 1.
        start: the epoch (from 0) with which the mean begins; each one before takes the place of the last.
        every: ``"step"`` or ``"epoch"``: after what the weights are taken in.

    Reference:
        Polyak & Juditsky, "Acceleration of stochastic approximation by averaging" (1992); Izmailov, Podoprikhin, Garipov, Vetrov & Wilson,
        "Averaging weights leads to wider optima and better generalization" (2018), algorithm 1 with a cycle of one epoch; the correction
        for the beginning is that of Kingma & Ba, "Adam" (2015), section 3.

    Example:
        >>> average = Average.of("swa", {"w": jnp.zeros(1)}, {})
        >>> for value in (1.0, 2.0, 6.0):
        ...     average = average.after({"w": jnp.full(1, value)}, {})
        >>> round(float(average.params["w"][0]), 5)
        3.0
    """

    params: Any
    model_state: Any
    mass: jax.Array
    decay: jax.Array
    start: jax.Array
    every: str = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(cls, kind: str, params: Any, model_state: Any, *, decay: float = _DECAY, start: int = 0) -> Self:
        """An average of nothing yet.

        Args:
            kind: ``"ema"`` or ``"swa"``.
            params, model_state: the initial ones, for their shapes.
            decay: of ``"ema"``; ``"swa"`` has none.
            start: of ``"swa"``; a moving average forgets the beginning by itself.

        Raises:
            ConfigError: another kind.
        """
        if kind not in AVERAGES:
            raise ConfigError(f"the average is {kind!r}; expected one of: {', '.join(AVERAGES)}")
        numbers = (jnp.zeros((), float), jnp.asarray(decay if kind == "ema" else 1.0, float), jnp.int32(start))
        return cls(params, model_state, *numbers, every=AVERAGES[kind])

    @property
    def begun(self) -> bool:
        """Whether any weights were taken in."""
        return bool(np.all(np.asarray(self.mass) > 0))

    def counts(self, epoch: int) -> bool:
        """Whether the mean is under way at the end of an epoch."""
        return bool(np.all(np.asarray(self.start) <= epoch))

    def after(self, params: Any, model_state: Any, epoch: Any = _LAST) -> Self:
        """The mean with further weights, those at the end of ``epoch`` if the epochs matter."""
        mass = jnp.where(epoch > self.start, self.decay * self.mass, 0) + 1

        def mixed(mean: jax.Array, new: jax.Array) -> jax.Array:
            if not jnp.issubdtype(new.dtype, jnp.inexact):
                return new
            kept = (1 - 1 / mass).reshape(mass.shape + (1,) * (new.ndim - mass.ndim))  # (members, 1, …) in a population
            return new + (mean - new) * kept.astype(new.dtype)

        mean = jax.tree.map(mixed, (self.params, self.model_state), (params, model_state))
        return dataclasses.replace(self, params=mean[0], model_state=mean[1], mass=mass)


@jax.jit
def taken_in(average: Average, params: Any, model_state: Any, epoch: Any) -> Average:
    """:meth:`Average.after`, compiled."""
    return average.after(params, model_state, epoch)
