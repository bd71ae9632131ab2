"""Attribution along a path: what each input adds to a score on the way from a baseline."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import ConfigError, DataError

__all__ = ["TOLERANCE", "Attribution", "integrated_gradients"]

TOLERANCE = 1e-4
"""By how much values may miss what they should add up to, as a share of it or of 1."""

_GROWTH = 4  # times as many steps, at most, where they were too few


@dataclasses.dataclass(frozen=True, eq=False)
class Attribution:
    """What each input adds to the score.

    Attributes:
        values: of the shape of the inputs, in the unit of the score.
        gained: ``f(x) − f(baseline)``, ``(batch,)``: what the values of an example should add up to.
        gap: ``Σ values − gained``, ``(batch,)``; small when there are enough steps.
        steps: points on the path.
    """

    values: Any
    gained: np.ndarray
    gap: np.ndarray
    steps: int = 0

    @property
    def missed(self) -> float:
        """By how much the values of an example miss what it gained, at most, as a share of it or of 1 where it is less."""
        return float((np.abs(self.gap) / np.maximum(1, np.abs(self.gained))).max(initial=0))

    def mean(self) -> Attribution:
        """The mean over the examples, as one example: of one row on the way from several baselines."""
        values = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64).mean(axis=0, keepdims=True), self.values)
        return Attribution(values, self.gained.mean(keepdims=True), self.gap.mean(keepdims=True), self.steps)


def integrated_gradients(
    score: Callable[..., jax.Array],
    x: Any,
    baseline: Any = None,
    *,
    steps: int = 64,
    power: int = 1,
    most: int | None = None,
    given: Any = None,
    mean: bool = False,
) -> Attribution:
    """``(x_i − b_i) · ∫₀¹ ∂f/∂x_i (b + α(x − b)) dα``, the integral by the midpoint rule.

    A gradient alone says what a small change would do, and is 0 where the score is flat, however much the input has done to
    bring it there; its mean along the path counts the whole way. The values add up to ``f(x) − f(b)`` (completeness), which
    :attr:`Attribution.gap` checks.

    Args:
        score: ``f``: a batch of inputs to one number each, ``(batch,)``, such as the logit of a class. Each example's score
            must depend on that example alone.
        x: floating-point inputs with the batch axis first, one array or a tree of them.
        baseline: ``b``, the input that means "nothing", of the shape of ``x`` or one that broadcasts to it; None is 0.
        steps: points on the path, >= 1.
        power: ``p`` >= 1: the points are ``α = u^p`` of evenly spaced ``u``, denser near the baseline for a ``p`` above 1. That is
            where a network with norms changes fastest, since a norm undoes ``α`` further on.
        most: where the values do not add up within :data:`TOLERANCE`, more steps are taken, up to so many; None takes ``steps``.
        given: a tree that the score takes beside the inputs, ``score(x, given)``: what is the same function for other weights or classes is
            then compiled once.
        mean: whether the mean over the examples is wanted (see :meth:`Attribution.mean`), and it alone need add up.

    Raises:
        ConfigError: ``steps`` or ``power`` below 1.
        DataError: inputs that are not floating-point, a baseline or scores of another shape.

    Reference:
        Sundararajan, Taly & Yan, "Axiomatic attribution for deep networks" (ICML 2017), eqs. 1 and 3 (theirs is the right-hand
        rule, whose error falls with the number of steps and not with its square).

    Example:
        >>> found = integrated_gradients(lambda x: x[:, 0] * x[:, 1] + 3 * x[:, 2], jnp.array([[2.0, 4.0, 1.0]]))
        >>> found.values.tolist(), found.gap.tolist()
        ([[4.0, 4.0, 3.0]], [0.0])
    """
    if steps < 1 or power < 1:
        raise ConfigError(f"integrated_gradients received steps={steps} and power={power}; expected at least 1")
    x = jax.tree.map(jnp.asarray, x)
    for leaf in jax.tree.leaves(x):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise DataError(
                f"integrated_gradients received inputs of type {leaf.dtype}; expected floating-point numbers",
                hint="attribute to the embeddings of codes and words instead of to the codes",
            )
    start = jax.tree.map(jnp.zeros_like, x) if baseline is None else _like(x, baseline)
    while True:
        values, first, last = _along(score, x, start, given, jnp.asarray(steps), power)
        if first.ndim != 1:
            raise DataError(f"the score has the shape {first.shape}; expected one number per example, (batch,)")
        total = sum(np.asarray(leaf, np.float64).reshape(len(first), -1).sum(1) for leaf in jax.tree.leaves(values))
        gained = np.asarray(last, np.float64) - np.asarray(first, np.float64)
        found = Attribution(jax.tree.map(np.asarray, values), gained, total - gained, steps)
        found = found.mean() if mean else found
        if most is None or steps >= most or found.missed <= TOLERANCE:
            return found
        steps = min(most, steps * int(np.clip(2 * np.sqrt(found.missed / TOLERANCE), 2, _GROWTH)))


def _like(x: Any, baseline: Any) -> Any:
    def one(leaf: jax.Array, start: Any) -> jax.Array:
        try:
            return jnp.broadcast_to(jnp.asarray(start, leaf.dtype), leaf.shape)
        except ValueError:
            raise DataError(
                f"the baseline has the shape {np.shape(start)}; expected {leaf.shape} or one that broadcasts to it"
            ) from None

    return jax.tree.map(one, x, baseline)


@functools.partial(jax.jit, static_argnums=(0, 5))
def _along(
    score: Callable[..., jax.Array], x: Any, start: Any, given: Any, steps: jax.Array, power: int
) -> tuple[Any, jax.Array, jax.Array]:
    def value(at: Any) -> jax.Array:
        return score(at) if given is None else score(at, given)

    way = jax.tree.map(jnp.subtract, x, start)
    slope = jax.grad(lambda at: jnp.sum(value(at)))

    def add(step: jax.Array, total: Any) -> Any:
        u = (step + 0.5) / steps
        at = jax.tree.map(lambda b, d: b + u.astype(d.dtype) ** power * d, start, way)
        pace = power * u ** (power - 1)  # dα/du
        return jax.tree.map(lambda t, s: t + (pace * s).astype(t.dtype), total, slope(at))

    total = jax.lax.fori_loop(0, steps, add, jax.tree.map(jnp.zeros_like, x))
    return jax.tree.map(lambda t, d: t / steps * d, total, way), value(start), value(x)
