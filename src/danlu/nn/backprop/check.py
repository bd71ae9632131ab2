"""Is a gradient right? Central differences in double precision, and a verdict for each parameter."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import ConfigError, DataError
from danlu.nn.layer import Layer
from danlu.nn.losses import reduce
from danlu.nn.summary import html_table, text_table

__all__ = ["GradientCheck", "GradientRow", "gradient_check"]


@dataclasses.dataclass(frozen=True)
class GradientRow:
    """The verdict for one parameter.

    Attributes:
        path: where it is in the tree, such as ``[0]['kernel']``.
        shape: its shape.
        checked: how many directions were compared.
        error: the largest relative error among them.
        ok: whether that is within the tolerance.
    """

    path: str
    shape: tuple[int, ...]
    checked: int
    error: float
    ok: bool


@dataclasses.dataclass(frozen=True)
class GradientCheck:
    """A row for each parameter, from :func:`gradient_check`; printing it shows a table."""

    rows: tuple[GradientRow, ...]
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether every parameter's gradient is right."""
        return all(row.ok for row in self.rows)

    @property
    def error(self) -> float:
        """The largest relative error of all."""
        return max((row.error for row in self.rows), default=0.0)

    def _table(self) -> tuple[list[str], list[list[str]]]:
        body = [
            [row.path or "(all)", "×".join(map(str, row.shape)) or "1", str(row.checked), f"{row.error:.1e}",
             "right" if row.ok else "WRONG"]
            for row in self.rows
        ]  # fmt: skip
        return ["parameter", "shape", "directions", "error", "gradient"], body

    def __str__(self) -> str:
        wrong = sum(not row.ok for row in self.rows)
        verdict = "every gradient is right" if not wrong else f"{wrong} of {len(self.rows)} gradients are WRONG"
        return f"{text_table(*self._table(), left=1)}\n{verdict} (tolerance {self.tolerance:g})"

    def _repr_html_(self) -> str:
        return html_table(*self._table(), left=1)


def _double(tree: Any) -> Any:
    """``tree`` with its floating-point arrays in double precision; everything else, keys included, as it is."""

    def convert(a: Any) -> Any:
        if isinstance(a, jax.Array | np.ndarray | float) and jnp.issubdtype(jnp.result_type(a), jnp.floating):
            return jnp.asarray(np.asarray(a), jnp.float64)
        return a

    return jax.tree.map(convert, tree)


def _same_structure(left: Any, right: Any) -> bool:
    one: Any = jax.tree.structure(left)
    return bool(one == jax.tree.structure(right))


def _objective(layer: Layer, given: dict[str, Any]) -> Callable[[Any], jax.Array]:
    for name in ("x", "y", "loss"):
        if given[name] is None:
            raise ConfigError(f"gradient_check of a layer needs {name}", hint="gradient_check(layer, params, x=…, …)")
    state, x, y, weights = (_double(given[name]) for name in ("state", "x", "y", "weights"))

    def mean_loss(params: Any) -> jax.Array:
        outputs, _ = layer.apply(params, state, x, train=given["train"], key=given["key"])
        return reduce(given["loss"](outputs, y), weights)

    return mean_loss


def _directions(shape: tuple[int, ...], directions: int, coordinates: int, rng: np.random.Generator) -> np.ndarray:
    """Unit vectors of ``shape``: random ones, then single coordinates (all of them if they are few)."""
    size = int(np.prod(shape))
    random = rng.standard_normal((directions, size))
    random /= np.maximum(np.linalg.norm(random, axis=1, keepdims=True), 1e-300)
    chosen = rng.choice(size, min(coordinates, size), replace=False)
    # (directions, *shape)
    return np.concatenate([random, np.eye(size)[chosen] if size <= 4096 else _unit(size, chosen)]).reshape(-1, *shape)


def _unit(size: int, chosen: np.ndarray) -> np.ndarray:
    rows = np.zeros((len(chosen), size))
    rows[np.arange(len(chosen)), chosen] = 1
    return rows


def gradient_check(
    function: Callable[[Any], jax.Array] | Layer,
    params: Any,
    *,
    state: Any = (),
    x: Any = None,
    y: Any = None,
    loss: Callable[[Any, Any], jax.Array] | None = None,
    weights: Any = None,
    train: bool = False,
    key: jax.Array | None = None,
    gradient: Callable[[Any], Any] | None = None,
    directions: int = 2,
    coordinates: int = 4,
    step: float = 1e-5,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> GradientCheck:
    """Compare a gradient with central differences ``(f(θ + h·v) − f(θ − h·v)) / 2h`` in float64.

    Each parameter is moved along random directions and along chosen coordinates, alone. The relative error is
    ``|a − n| / max(|a|, |n|, floor)``, where the floor, 1e-4 of the largest slope found (and at least
    ``1e-6·max(1, |f|)``), keeps slopes that are zero but for rounding from counting. At a kink (ReLU at exactly 0, the
    absolute error of a perfect prediction) there is no derivative and the check may fail rightly.

    Args:
        function: ``f(params) -> scalar``; or a layer, and then ``f`` is its weighted mean loss with the arguments
            ``state``, ``x``, ``y``, ``loss``, ``weights``, ``train`` and ``key`` (see
            :func:`~danlu.nn.backprop.trace`).
        params: a tree of arrays; converted to float64.
        gradient: ``g(params) -> tree``, the gradient to check; None checks ``jax.grad(f)``, and so any custom rule
            in ``f``.
        directions: random directions for each parameter.
        coordinates: single coordinates for each parameter, at most.
        step: ``h``.
        tolerance: the largest relative error that passes.
        seed: of the choice of directions.

    Returns:
        A :class:`GradientCheck`; ``.ok`` is the verdict.

    Raises:
        DataError: ``f`` gives no scalar, the gradient is not a tree like ``params``, or ``f``
            computes in less than double precision (a cast inside it).
        ConfigError: a layer without ``x``, ``y`` and ``loss``.

    Example:
        >>> gradient_check(lambda p: jnp.sum(p["w"] ** 3), {"w": jnp.arange(3.0)}).ok
        True
        >>> wrong = gradient_check(lambda p: p**2, jnp.array(3.0), gradient=lambda p: 3 * p)
        >>> print(wrong)
        parameter  shape  directions    error  gradient
        ───────────────────────────────────────────────
        (all)          1           3  3.3e-01     WRONG
        1 of 1 gradients are WRONG (tolerance 1e-05)
    """
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        params = _double(params)
        given = {"state": state, "x": x, "y": y, "loss": loss, "weights": weights, "train": train, "key": key}
        scalar = _objective(function, given) if isinstance(function, Layer) else function
        value = jax.jit(scalar)
        at = value(params)
        if at.shape != () or at.dtype != jnp.float64:
            raise DataError(
                f"the function gives {at.dtype} of shape {at.shape}; expected one float64 number",
                hint="gradient_check needs a scalar that is computed in the type of its parameters, without casts",
            )
        found = (jax.jit(jax.grad(scalar)) if gradient is None else gradient)(params)
        if not _same_structure(found, params):
            raise DataError(
                f"the gradient has the structure {jax.tree.structure(found)}; expected {jax.tree.structure(params)}"
            )
        paths, tree = jax.tree_util.tree_flatten_with_path(params)
        leaves = [np.asarray(leaf) for _, leaf in paths]
        slopes = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(found)]
        compared = []
        for index, leaf in enumerate(leaves):
            pairs = []
            for v in _directions(leaf.shape, directions, coordinates, rng) if leaf.size else ():
                ends = [
                    float(value(jax.tree.unflatten(tree, [*leaves[:index], leaf + h * v, *leaves[index + 1 :]])))
                    for h in (step, -step)
                ]
                pairs.append((float(np.sum(slopes[index] * v)), (ends[0] - ends[1]) / (2 * step)))
            compared.append(np.array(pairs).reshape(-1, 2))
        largest = max((float(np.max(np.abs(both))) for both in compared if both.size), default=0.0)
        floor = max(1e-4 * largest, 1e-6 * max(1.0, abs(float(at))))
    rows = []
    for (path, _), leaf, both in zip(paths, leaves, compared, strict=True):
        scale = np.maximum(np.max(np.abs(both), axis=1, initial=0), floor)
        error = float(np.max(np.abs(both[:, 0] - both[:, 1]) / scale, initial=0))
        rows.append(GradientRow(jax.tree_util.keystr(path), leaf.shape, len(both), error, bool(error <= tolerance)))
    return GradientCheck(tuple(rows), tolerance)
