"""Models of rows: likelihoods against closed forms, inverses, determinants and masks against JAX's own Jacobians."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.data.rows import number_cells
from danlu.evaluate.drawn import DrawnRows
from danlu.generative.rows import RowCopula, RowFlow, RowMADE, RowModel, spline
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw

__all__: list[str] = []


def _begun(network: RowModel, scale: float = 0.3) -> tuple[Any, Any]:
    """Variables that are nothing in particular."""
    shape = dict.fromkeys(("cell", "place", "slope"), (len(network.sizes),))
    params, state, _ = network.init(jax.random.key(0), shape)
    leaves, form = jax.tree.flatten(params)
    drawn = [leaf + scale * jnp.asarray(draw(*leaf.shape, seed=n), jnp.float32) for n, leaf in enumerate(leaves)]
    return jax.tree.unflatten(form, drawn), state


@case("rows.RowMADE")
def made(check: Check) -> None:
    """The probabilities of all rows of categories add up to 1, and no logit moves with its own column or one after it."""
    network = RowMADE((2, 3, 2), (False,) * 3, width=12)
    params, state = _begun(network)
    cells = np.array(list(itertools.product(range(2), range(3), range(2))))
    none = np.zeros(cells.shape, np.float32)
    logs, _ = network.apply(params, state, {"cell": jnp.asarray(cells), "place": none, "slope": none})
    check(jnp.exp(logs).sum(), 1.0)
    column = np.repeat(np.arange(3), network.sizes)
    into, within, out = network.masks()
    paths = into.astype(int) @ within.astype(int) @ out.astype(int)
    check(np.where(column[:, None] >= column[None], paths, 0), np.zeros_like(paths), floor=1.0)
    check((paths > 0).sum(), int((column[:, None] < column[None]).sum()))


@case("rows.RowFlow")
def flow(check: Check) -> None:
    """Inverse after forward is the identity, and log |det| is that of JAX's Jacobian; without bends it is a Gaussian."""
    network = RowFlow((4, 4, 4), (True,) * 3, layers=4, width=8, bins=5)
    params, _ = _begun(network, 0.05)  # bends that float32 can undo
    z = jnp.asarray(draw(6, 3, seed=9), jnp.float32)
    y, log_det = network.forward(params, z)
    check(network.inverse(params, y), z, floor=0.5)
    jacobian = jax.vmap(jax.jacobian(lambda one: network.forward(params, one[None])[0][0]))(z)
    check(log_det, np.linalg.slogdet(np.asarray(jacobian, np.float64))[1], floor=0.5)


@case("rows.spline")
def bent(check: Check) -> None:
    """A spline is the identity without pieces; its slope is that of finite differences, and its inverse undoes it."""
    x = jnp.linspace(-6, 6, 25)
    y, slope = spline(x, jnp.zeros((25, 14)))
    check(y, x, floor=1.0)
    check(slope, np.zeros(25), floor=1.0)
    pieces = jnp.asarray(np.tile(0.3 * draw(14, seed=3), (25, 1)), jnp.float32)
    y, slope = spline(x, pieces)
    check(spline(y, pieces, inverse=True)[0], x, floor=1.0)
    check(slope, jnp.log(jax.vmap(jax.grad(lambda one, own: spline(one, own)[0]))(x, pieces)), floor=0.5)


@case("rows.RowCopula")
def copula(check: Check) -> None:
    """With normal columns the copula is SciPy's multivariate Gaussian."""
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(0)
    x = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 4000)
    root = np.linalg.cholesky([[1, 0.6], [0.6, 1]]).astype(np.float32)
    network = RowCopula((256, 256), (True, True))
    # The cells of a standard normal: even shares between its quantiles.
    from scipy.stats import norm

    edges = norm.ppf(np.arange(1, 256) / 256)
    low, high = np.concatenate([[-6.0], edges]), np.concatenate([edges, [6.0]])
    code = np.clip(np.searchsorted(edges, x), 0, 255)
    place = (norm.cdf(x) * 256 - code).astype(np.float32)
    slope = (-np.log(256) - norm.logpdf(x)).astype(np.float32)  # log |dx/dt| with t even in each cell
    share = np.full(512, 1 / 256, np.float32)
    state = {
        "share": jnp.asarray(share),
        "before": jnp.asarray(np.tile(np.arange(256) / 256, 2), jnp.float32),
        "jitter": jnp.zeros(512),
    }
    kept = np.abs(x).max(axis=1) < 3
    rows = {"cell": code[kept].astype(np.int32), "place": place[kept], "slope": slope[kept]}
    found, _ = network.apply({"root": jnp.asarray(root)}, state, rows)
    check(found, multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]]).logpdf(x[kept]), floor=1.0)
    check(low[1:], high[:-1])


@case("rows.cells", tolerance=1e-4, reason="the sum over a grid misses the jumps of the density between its places")
def cells(check: Check) -> None:
    """Numbers come back from their cells, and the shares with the slopes are a density: it adds up to 1."""
    x = np.random.default_rng(0).standard_gamma(2.0, 3000)
    own = number_cells(x)
    code, place, _ = own.encode(x)
    check(own.decode(code, place), x)
    grid = np.linspace(-20, 60, 400_001)
    code, _, slope = own.encode(grid)
    check(np.exp(np.log(own.share[code]) - slope).sum() * (grid[1] - grid[0]), 1.0)


@case("rows.DrawnRows")
def tested(check: Check) -> None:
    """Cramér's V and the area under the curve against SciPy and scikit-learn."""
    from scipy.stats.contingency import association
    from sklearn.metrics import f1_score, roc_auc_score

    rng = np.random.default_rng(0)
    a = rng.integers(0, 3, (200, 2))
    a[:, 1] = np.where(rng.random(200) < 0.5, a[:, 0], a[:, 1])
    b, scores = rng.integers(0, 3, (200, 2)), rng.random((2, 200))
    truth, answers = rng.integers(0, 3, 200).astype(float), rng.integers(0, 3, 200).astype(float)
    found = DrawnRows(
        a, b, scores[0], scores[1], "classes", truth, answers, answers, scores, scores, scores[0]
    ).measures()
    tables = [
        np.array([[((each[:, 0] == i) & (each[:, 1] == j)).sum() for j in range(3)] for i in range(3)])
        for each in (a, b)
    ]
    check(found["associations"], abs(association(tables[0]) - association(tables[1])))
    check(found["detectability"], roc_auc_score(np.repeat([1, 0], 200), np.concatenate([scores[1], scores[0]])))
    check(found["learnt_f1"], f1_score(truth, answers, average="macro"))
    shares = [np.stack([np.bincount(each[:, j], minlength=3) / 200 for j in range(2)]) for each in (a, b)]
    check(found["marginals"], np.abs(shares[0] - shares[1]).sum(axis=1).mean() / 2)
