"""Adversarial training: an objective on the worst small change of each batch's inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.engine.measures import Measure
from danlu.engine.objective import Objective, measured
from danlu.nn.attack import worst_change

__all__ = ["Adversarial"]


class Adversarial(Objective):
    """Another objective, of inputs that are changed so that it becomes worse; to judge, of the inputs as they are.

    ``min over params of max over |δ| <= radius of objective(x + δ)``: the inner maximum by :func:`danlu.nn.attack.worst_change`.

    Args:
        objective: what is made small.
        radius: the largest change of an input, in its unit; whole numbers of an array alone (pixels) are changed as well, those of a dict
            (codes of categories) are not.
        steps: of the inner maximum.
        low, high: what inputs may be.

    Reference: Madry et al., "Towards deep learning models resistant to adversarial attacks" (ICLR 2018), eq. 1.

    Example:
        >>> from danlu import fit, nn
        >>> from danlu.engine.objective import Supervised
        >>> from danlu.nn.losses import get_loss
        >>> x = jnp.linspace(-1, 1, 16)[:, None]
        >>> one = Adversarial(Supervised(nn.Dense(1), get_loss("mse")), radius=0.1)
        >>> fitted = fit(nn.Dense(1), (x, x[:, 0]), loss=one, epochs=1, display="none")
        >>> sorted(set(fitted.history[0]) & {"loss"})
        ['loss']
    """

    objective: Objective
    radius: float = setting(above=0)
    steps: int = setting(default=1, minimum=1, integer=True)
    low: float | None = None
    high: float | None = None

    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        if not train:
            return self.objective(params, state, batch, key, train=False)
        x = batch["x"]
        if not isinstance(x, Mapping):
            x = jax.tree.map(lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)), x)

        def loss(changed: Any) -> jax.Array:
            own = {**batch, "x": changed}
            sums = measured(self.objective, params, state, own, key, {}, train=True)[1]
            return sums["loss"]

        worst = worst_change(loss, x, self.radius, steps=self.steps, low=self.low, high=self.high)
        return self.objective(params, state, {**batch, "x": jax.lax.stop_gradient(worst)}, key, train=True)

    @property
    def terms(self) -> tuple[tuple[str, Measure], ...]:
        return self.objective.terms

    @property
    def measures(self) -> dict[str, Measure]:
        return self.objective.measures

    @property
    def complete(self) -> frozenset[str]:
        return self.objective.complete

    def direction(self, name: str) -> str | None:
        return self.objective.direction(name)
