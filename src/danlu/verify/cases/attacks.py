"""The worst small changes of inputs, and training on them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.adversarial import Adversarial
from danlu.engine.objective import Supervised
from danlu.nn.attack import worst_change
from danlu.nn.dense import Dense
from danlu.nn.losses import get_loss
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw

__all__: list[str] = []


@case("explain.worst_change")
def attack(check: Check) -> None:
    """FGSM by finite differences' signs; PGD of a linear loss is its closed form, and of a bowl it stays in the radius and the range."""
    weight, x = draw(5, seed=1), draw(4, 5)

    def loss(z):
        return jnp.log1p(jnp.exp(z @ jnp.asarray(weight, jnp.float32))).sum()

    signs = np.sign(weight)[None]  # the loss grows with z·w
    start = jnp.asarray(x, jnp.float32)
    check(worst_change(loss, start, 0.1), x + 0.1 * signs, oracle="closed form")
    check(worst_change(loss, start, 0.3, steps=7), x + 0.3 * signs, oracle="closed form")
    bounded = worst_change(loss, start, 0.3, steps=7, low=-0.5, high=0.5)
    check(bounded, np.clip(x + 0.3 * signs, -0.5, 0.5), oracle="closed form")
    both = worst_change(lambda z: (z["a"] * z["b"]).sum(), {"a": start, "b": jnp.ones((4, 5), jnp.int32)}, 0.1)
    check(both["a"], x + 0.1, oracle="closed form")
    check(both["b"], np.ones((4, 5)), oracle="closed form")


@case("objective.adversarial")
def adversarial(check: Check) -> None:
    """Of a line the worst case has a closed form: ``(|x·w + b − y| + r·Σ|w|)²``; to judge, inputs are as they are."""
    x, y, w, b = draw(6, 3), draw(6, seed=1), draw(3, seed=2), 0.25
    layer = Dense(1)
    params = {"kernel": jnp.asarray(w[:, None], jnp.float32), "bias": jnp.asarray([b], jnp.float32)}
    batch = {name: jnp.asarray(part, jnp.float32) for name, part in (("x", x), ("y", y), ("weight", np.ones(6)))}
    objective = Adversarial(objective=Supervised(layer, get_loss("mse")), radius=0.1, steps=3)
    key = jax.random.key(0)
    error = np.abs(x @ w + b - y)
    for train, expected in ((True, (error + 0.1 * np.abs(w).sum()) ** 2), (False, error**2)):
        values = objective(params, {}, batch, key, train=train)[0]
        check(values["loss"], expected, oracle="closed form")
