"""Magnitude pruning: the smallest weights become zero."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from danlu.blueprint import setting
from danlu.compression.technique import Made, Technique
from danlu.compression.workshop import Workshop
from danlu.errors import ConfigError
from danlu.nn.layer import Layer, Params, State
from danlu.paths import leaf_paths, matches

__all__ = ["Magnitude", "kernels", "pruned"]


class Magnitude(Technique):
    """The share ``sparsity`` of the weights with the smallest |w| becomes 0, and the others are trained on.

    Only kernels are pruned, arrays of two axes or more; biases, norms and scales are kept.

    Args:
        sparsity: the share of zeros, in (0, 1).
        by: ``"global"``: one threshold for all kernels; ``"layer"``: the share is of each kernel.
        epochs: of training with the zeros held; None is a third of the run's own.
        keep: patterns (see :mod:`danlu.paths`) of kernels that are not pruned, such as ``("*/table",)``.

    Reference: Han, Pool, Tran & Dally (2015), "Learning both weights and connections for efficient neural networks", arXiv:1506.02626.

    Example:
        >>> from danlu.nn import Dense
        >>> params = {"kernel": np.array([[0.1, -2.0], [3.0, 0.2]])}
        >>> pruned(params, 0.5)["kernel"].tolist()
        [[0.0, -2.0], [3.0, 0.0]]
    """

    sparsity: float = setting(default=0.8, above=0, below=1)
    by: str = setting(default="global", choices=("global", "layer"))
    epochs: int | None = setting(default=None, minimum=0, integer=True, optional=True)
    keep: tuple[str, ...] = ()

    def __call__(self, network: Layer, params: Params, state: State, workshop: Workshop) -> Made:
        params = pruned(params, self.sparsity, by=self.by, keep=self.keep)
        epochs = max(1, workshop.plan.epochs // 3) if self.epochs is None else self.epochs
        return network, *workshop.tune(network, params, state, epochs=epochs)


def kernels(params: Params, keep: tuple[str, ...] = ()) -> list[str]:
    """The paths of the arrays that are pruned.

    Raises:
        ConfigError: there are none.
    """
    found = [
        path
        for path, leaf in zip(leaf_paths(params), jax.tree.leaves(params), strict=True)
        if np.ndim(leaf) > 1 and not any(matches(path, pattern) for pattern in keep)
    ]
    if not found:
        raise ConfigError("the network has no kernels to prune, which are arrays of two axes or more")
    return found


def pruned(params: Params, sparsity: float, *, by: str = "global", keep: tuple[str, ...] = ()) -> Params:
    """``params`` with the smallest weights of the kernels at 0; the share of zeros is ``sparsity`` to the nearest weight."""
    chosen = set(kernels(params, keep))
    leaves, form = jax.tree.flatten(params)
    paths = leaf_paths(params)
    arrays = {path: np.asarray(leaf) for path, leaf in zip(paths, leaves, strict=True) if path in chosen}
    groups = [list(arrays)] if by == "global" else [[path] for path in arrays]
    for group in groups:
        sizes = np.abs(np.concatenate([arrays[path].ravel() for path in group]).astype(np.float32))
        smallest = np.argsort(sizes, kind="stable")[: round(sparsity * sizes.size)]
        kept = np.ones(sizes.size, bool)
        kept[smallest] = False
        ends = np.cumsum([arrays[path].size for path in group])[:-1]
        for path, mask in zip(group, np.split(kept, ends), strict=True):
            arrays[path] = np.where(mask.reshape(arrays[path].shape), arrays[path], 0).astype(arrays[path].dtype)
    return jax.tree.unflatten(form, [arrays.get(path, leaf) for path, leaf in zip(paths, leaves, strict=True)])


def sparsity_of(params: Any) -> float:
    """The share of zeros among the weights of the kernels."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params) if np.ndim(leaf) > 1]
    return 1 - sum(np.count_nonzero(leaf) for leaf in leaves) / max(1, sum(leaf.size for leaf in leaves))
