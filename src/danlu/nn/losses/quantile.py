"""Losses for quantiles, and for a mean together with quantiles."""

from __future__ import annotations

import itertools
import numbers
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError, DataError
from danlu.nn._precision import widened
from danlu.nn.losses.align import per_example
from danlu.nn.losses.base import Loss
from danlu.nn.losses.targets import measure

__all__ = ["ForecastLoss", "Pinball", "centre_error", "check_quantiles"]


def check_quantiles(owner: str, quantiles: Any) -> tuple[float, ...]:
    """``quantiles`` as a tuple; ConfigError unless they grow and lie in (0, 1)."""
    found: tuple[Any, ...] = tuple(quantiles) if isinstance(quantiles, tuple | list) else (None,)
    numeric = all(isinstance(q, numbers.Real) and 0 < float(q) < 1 for q in found)
    if not numeric or any(low >= high for low, high in itertools.pairwise(found)):
        raise ConfigError(f"{owner}.quantiles is {quantiles!r}; expected growing numbers in (0, 1), such as (0.1, 0.9)")
    return tuple(float(q) for q in found)


def _heads(owner: str, outputs: Any, targets: Any, heads: int) -> tuple[jax.Array, jax.Array]:
    """Outputs ``(batch, ..., heads)``, and targets ``(batch, ...)`` with a last axis of 1."""
    outputs, targets = jnp.asarray(outputs), jnp.asarray(targets)
    if outputs.shape != (*targets.shape, heads) or not targets.ndim:
        raise DataError(
            f"{owner} received outputs of shape {outputs.shape} and targets of shape {targets.shape}; expected "
            f"outputs of shape {(*targets.shape, heads)}, {heads} for each target"
        )
    outputs = widened(outputs)
    return outputs, targets[..., None].astype(outputs.dtype)


class Pinball(Loss):
    """The quantile loss ``max(q·e, (q − 1)·e)`` with ``e = y − ŷ_q``, averaged over the quantiles and the targets.

    ``∂/∂ŷ = −q`` below the target and ``1 − q`` above it: where its mean is least, a share ``q`` of the targets lies below
    ``ŷ_q``. For ``q = ½`` it is half the absolute error. Outputs are ``(batch, ..., quantiles)``, targets ``(batch, ...)``.

    Args:
        quantiles: each ``q``, growing, in (0, 1).

    Reference: Koenker & Bassett (1978), "Regression quantiles", Econometrica 46, eq. 1.1.

    >>> Pinball((0.25,))(jnp.array([[1.0], [1.0]]), jnp.array([2.0, 0.0])).tolist()
    [0.25, 0.75]
    """

    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "quantiles", check_quantiles("Pinball", self.quantiles))
        if not self.quantiles:
            raise ConfigError("Pinball has no quantiles; expected at least one")

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        outputs, targets = _heads("Pinball", outputs, targets, len(self.quantiles))
        error, q = targets - outputs, _row(self.quantiles, outputs)
        return per_example(jnp.where(error >= 0, q * error, (q - 1) * error))

    def slope(self, outputs: Any, targets: Any) -> jax.Array:
        """The derivative in each output, times the number of outputs of an example."""
        outputs, targets = _heads("Pinball", outputs, targets, len(self.quantiles))
        q = _row(self.quantiles, outputs)
        return jnp.where(targets >= outputs, -q, 1 - q)


class ForecastLoss(Loss):
    """A loss of the first output plus the :class:`Pinball` loss of the others: a forecast and its intervals at once.

    The two parts share no output, so each head learns what it would learn alone where they share no weights either. Outputs
    are ``(batch, ..., 1 + quantiles)``, targets ``(batch, ...)``.

    Args:
        quantiles: of the outputs after the first; () leaves the first alone.
        centre: ``"mse"`` makes the first output the mean, ``"mae"`` a median.

    >>> ForecastLoss((0.5,))(jnp.array([[[1.0, 2.0]]]), jnp.array([[3.0]])).tolist()  # (1 − 3)² + ½·|2 − 3|
    [4.5]
    """

    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)
    centre: str = setting(default="mse", choices=("mse", "mae"))

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "quantiles", check_quantiles("ForecastLoss", self.quantiles))

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        outputs, y = _heads("ForecastLoss", outputs, targets, 1 + len(self.quantiles))
        error = outputs[..., :1] - y
        values = per_example(jnp.square(error) if self.centre == "mse" else error * jnp.sign(error))
        if not self.quantiles:
            return values
        return values + Pinball(self.quantiles)(outputs[..., 1:], targets)

    def slope(self, outputs: Any, targets: Any) -> jax.Array:
        """The derivative in each output, times the number of outputs of an example."""
        outputs, y = _heads("ForecastLoss", outputs, targets, 1 + len(self.quantiles))
        error = outputs[..., :1] - y
        heads = 1 + len(self.quantiles)
        first = heads * (2 * error if self.centre == "mse" else jnp.sign(error))
        if not self.quantiles:
            return first
        others = Pinball(self.quantiles).slope(outputs[..., 1:], targets) * (heads / len(self.quantiles))
        return jnp.concatenate([first, others], axis=-1)


@measure("min")
def centre_error(outputs: Any, targets: Any) -> jax.Array:
    """``(ŷ − y)²`` of the first output alone, ``(batch,)``: the error of a forecast without its intervals.

    >>> centre_error(jnp.array([[[1.0, 2.0]]]), jnp.array([[3.0]])).tolist()
    [4.0]
    """
    first = jnp.asarray(outputs)[..., 0]
    if first.shape != jnp.shape(targets):
        raise DataError(f"centre_error received {first.shape} forecasts and {jnp.shape(targets)} targets")
    return per_example(jnp.square(first - jnp.asarray(targets).astype(first.dtype)))


def _row(quantiles: tuple[float, ...], outputs: jax.Array) -> jax.Array:
    return jnp.asarray(quantiles, outputs.dtype).reshape((1,) * (outputs.ndim - 1) + (-1,))  # (1, …, quantiles)
