"""Which weights stay: masks of 0 and 1 by scores, the same for every way of pruning single weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from danlu.errors import ConfigError
from danlu.nn.ensemble import Ensemble
from danlu.nn.layer import Layer, Params
from danlu.paths import check_patterns, leaf_paths, matches

__all__ = ["BY", "check_pattern", "cubic", "each_copy", "mask_of", "sparsity_of"]

BY = ("global", "layer", "2:4")


def check_pattern(owner: str, by: str, sparsity: float) -> None:
    """Refuse a share of zeros that a fixed pattern does not have.

    Raises:
        ConfigError: see above.
    """
    if by == "2:4" and sparsity != 0.5:
        raise ConfigError(
            f"{owner}.by is '2:4', which makes half of the weights zero, and sparsity is {sparsity:g}",
            hint="sparsity=0.5",
        )


def mask_of(params: Params, scores: Any, sparsity: float, *, by: str = "global", keep: tuple[str, ...] = ()) -> Any:
    """Booleans in the shapes of ``params``: False for the share ``sparsity`` of the kernels' weights with the lowest scores.

    Kernels are arrays of two axes or more; all else is True. Of equal scores the first ones go, so that the share is exact.

    Args:
        scores: a number for each weight, in a tree like ``params``.
        by: ``"global"``, ``"layer"`` or ``"2:4"`` (along the second axis from the end, the inputs; what is left over stays).
        keep: patterns of kernels that are not looked at.

    Raises:
        ConfigError: there are no kernels, or a pattern names nothing.

    >>> mask = mask_of({"kernel": np.ones((2, 2))}, {"kernel": np.array([[1, 4], [2, 3]])}, 0.5)
    >>> mask["kernel"].tolist()
    [[False, True], [False, True]]
    """
    paths, leaves = leaf_paths(params), jax.tree.leaves(params)
    check_patterns("keep", keep, paths)
    given = dict(zip(paths, jax.tree.leaves(scores), strict=True))
    chosen = [
        path
        for path, leaf in zip(paths, leaves, strict=True)
        if np.ndim(leaf) > 1 and not any(matches(path, pattern) for pattern in keep)
    ]
    if not chosen:
        raise ConfigError("the network has no kernels to prune, which are arrays of two axes or more")
    masks: dict[str, np.ndarray] = {}
    for group in [chosen] if by == "global" else [[path] for path in chosen]:
        found = [np.asarray(given[path], np.float32) for path in group]
        if by == "2:4":
            masks[group[0]] = _two_of_four(found[0])
            continue
        flat = np.concatenate([each.ravel() for each in found])
        kept = np.ones(flat.size, bool)
        kept[np.argsort(flat, kind="stable")[: round(sparsity * flat.size)]] = False
        ends = np.cumsum([each.size for each in found])[:-1]
        parts = zip(group, np.split(kept, ends), found, strict=True)
        masks |= {path: part.reshape(each.shape) for path, part, each in parts}
    every = [masks.get(path, np.ones(np.shape(leaf), bool)) for path, leaf in zip(paths, leaves, strict=True)]
    return jax.tree.unflatten(jax.tree.structure(params), every)


def _two_of_four(scores: np.ndarray) -> np.ndarray:
    """True for the two highest of each four along the inputs."""
    rows = np.moveaxis(scores, -2, -1)
    whole = rows.shape[-1] // 4 * 4
    fours = rows[..., :whole].reshape(*rows.shape[:-1], -1, 4)  # (…, outputs, fours, 4)
    kept = np.argsort(np.argsort(fours, axis=-1, kind="stable"), axis=-1, kind="stable") >= 2
    mask = np.ones(rows.shape, bool)
    mask[..., :whole] = kept.reshape(*rows.shape[:-1], whole)
    return np.moveaxis(mask, -1, -2)


def each_copy(network: Layer, tree: Any, change: Callable[[Any], Any]) -> Any:
    """``change`` of a tree of arrays; of an ensemble's, of each copy's by itself."""
    if not isinstance(network, Ensemble):
        return change(tree)
    copies = [change(jax.tree.map(lambda leaf, k=k: np.asarray(leaf)[k], tree)) for k in range(network.count)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *copies)


def sparsity_of(params: Any) -> float:
    """The share of zeros among the weights of the kernels."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params) if np.ndim(leaf) > 1]
    return 1 - sum(np.count_nonzero(leaf) for leaf in leaves) / max(1, sum(leaf.size for leaf in leaves))


def cubic(first: float, last: float, progress: float) -> float:
    """The share of zeros at ``progress`` (0 to 1) of gradual pruning: ``s_f + (s_i − s_f)·(1 − t)³``.

    Reference: Zhu & Gupta (2017), "To prune, or not to prune", arXiv:1710.01878, eq. 1.

    >>> [round(cubic(0.0, 0.8, t), 3) for t in (0, 0.5, 1)]
    [0.0, 0.7, 0.8]
    """
    return last + (first - last) * (1 - min(max(progress, 0.0), 1.0)) ** 3
