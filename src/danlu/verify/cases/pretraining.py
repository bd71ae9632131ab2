"""Learning without labels: the contrast of two views, and hidden cells of a picture, by loops over their definitions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from danlu.nn import Conv, Sequential
from danlu.tasks.pretrain import Hidden, nt_xent
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw, finite_difference

__all__: list[str] = []


@case("loss.nt_xent")
def verify_nt_xent(check: Check) -> None:
    views, there, temperature = draw(10, 4), np.array([True, True, False, True, True]), 0.5

    def formula(views: np.ndarray) -> np.ndarray:
        z = views / np.linalg.norm(views, axis=1, keepdims=True)
        found = []
        for i in range(10):
            other = (i + 5) % 10
            kept = [j for j in range(10) if j != i and (there[j % 5] or j == other)]
            below = sum(np.exp(z[i] @ z[j] / temperature) for j in kept)
            found.append(-np.log(np.exp(z[i] @ z[other] / temperature) / below))
        return (np.array(found[:5]) + np.array(found[5:])) / 2

    def ours(views: jax.Array) -> jax.Array:
        return nt_xent(views[:5], views[5:], temperature, jnp.asarray(there))

    given = jnp.asarray(views, jnp.float32)
    check(ours(given), formula(views))
    slope = jax.grad(lambda z: ours(z).sum())(given)
    check(slope, finite_difference(lambda z: formula(z).sum(), views), oracle="finite differences")
    # By hand: two pictures with views (1, 0), (1, 0) and (0, 1), (0, 1), τ = 1: −log(e / (e + 2)) each.
    eye = jnp.eye(2)
    check(nt_xent(eye, eye, 1.0), np.full(2, np.log(np.e + 2) - 1), oracle="by hand")


@case("loss.hidden_cells")
def verify_hidden(check: Check) -> None:
    """A network that gives 0 everywhere: its error is the mean square of what is hidden, 1 where all pixels are 1."""
    network = Sequential((Sequential(()), Conv(3, 3, stride=2, use_bias=False), Conv(4, 1)))
    params, state, _ = network.init(jax.random.key(0), (5, 7, 1))
    params = (*params[:2], {**params[2], "kernel": 0 * params[2]["kernel"], "bias": jnp.arange(4.0)})
    picture = jnp.ones((2, 5, 7, 1))
    values, _, _ = Hidden(network, 0.5, 2)(params, state, {"x": picture}, jax.random.key(1), train=True)
    check(values, np.full(2, np.mean((np.arange(4.0) - 1) ** 2)), oracle="by hand")
    # The pixels of a cell go together: a picture of which each cell is 0 1 / 2 3 is drawn without error by that bias.
    cells = jnp.tile(jnp.array([[0.0, 1], [2, 3]]), (3, 4))[None, :5, :7, None]
    values, _, _ = Hidden(network, 0.5, 2)(params, state, {"x": cells}, jax.random.key(1), train=True)
    check(values, np.zeros(1), oracle="by hand")
