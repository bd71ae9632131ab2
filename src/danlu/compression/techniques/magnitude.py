"""Magnitude pruning: the smallest weights become zero."""

from __future__ import annotations

import jax
import numpy as np

from danlu.blueprint import setting
from danlu.compression.masks import BY, check_pattern, each_copy, mask_of
from danlu.compression.technique import Made, Technique
from danlu.compression.workshop import Workshop
from danlu.nn.layer import Layer, Params, State

__all__ = ["Magnitude", "pruned"]


class Magnitude(Technique):
    """The share ``sparsity`` of the weights with the smallest ``|w|`` becomes 0, and the others are trained on.

    Only kernels are pruned, arrays of two axes or more; biases, norms and scales are kept.

    Args:
        sparsity: the share of zeros, in (0, 1).
        by: ``"global"``: one threshold for all kernels; ``"layer"``: the share is of each kernel; ``"2:4"``: the smaller two of each
            four weights of an output that stand after each other (half of all), which some processors need to be faster.
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
    by: str = setting(default="global", choices=BY)
    epochs: int | None = setting(default=None, minimum=0, integer=True, optional=True)
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_pattern("Magnitude", self.by, self.sparsity)

    def __str__(self) -> str:
        return f"the {self.sparsity:.0%} smallest weights at zero ({self.by})"

    def __call__(self, network: Layer, params: Params, state: State, workshop: Workshop) -> Made:
        params = each_copy(network, params, lambda own: pruned(own, self.sparsity, by=self.by, keep=self.keep))
        epochs = max(1, workshop.plan.epochs // 3) if self.epochs is None else self.epochs
        return network, *workshop.tune(network, params, state, epochs=epochs)


def pruned(params: Params, sparsity: float, *, by: str = "global", keep: tuple[str, ...] = ()) -> Params:
    """``params`` with the smallest weights of the kernels at 0; see :func:`~danlu.compression.masks.mask_of`."""
    mask = mask_of(params, jax.tree.map(np.abs, params), sparsity, by=by, keep=keep)
    return jax.tree.map(lambda leaf, kept: np.where(kept, leaf, 0).astype(leaf.dtype), params, mask)
