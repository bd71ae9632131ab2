"""Pruning while training: a little more at a time, by size (Zhu & Gupta) or by movement (Sanh et al.)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from danlu.blueprint import setting
from danlu.compression.masks import BY, cubic, each_copy, mask_of, sparsity_of
from danlu.compression.technique import Made, Technique
from danlu.compression.workshop import Workshop
from danlu.engine.callback import Batch, Callback
from danlu.nn.layer import Layer, Params, State
from danlu.nn.masked import Masked, Moving

__all__ = ["Gradual", "Movement"]

_LOOKS = 40  # times that the mask is chosen anew


class Gradual(Technique):
    """Magnitude pruning in many small steps while the network is trained on: ``s_t = s_f + (s_i − s_f)·(1 − t/T)³`` at step ``t`` of ``T``.

    Weights that are zero now may come back while the share grows; from then on the mask stays and what is left is trained to the end.

    Args:
        sparsity: ``s_f``, the share of zeros in the end, in (0, 1). ``s_i`` is what the network has already.
        by: as of :class:`~danlu.compression.Magnitude`; ``"2:4"`` has no share that could grow.
        epochs: of training; None is the run's own number.
        ramp: the share of them in which zeros are added.
        keep: patterns of kernels that are not pruned.

    Reference: Zhu & Gupta (2017), "To prune, or not to prune", arXiv:1710.01878, section 3.
    """

    sparsity: float = setting(default=0.9, above=0, below=1)
    by: str = setting(default="global", choices=BY[:2])
    epochs: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    ramp: float = setting(default=0.6, above=0, maximum=1)
    keep: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.sparsity:.0%} of the weights at zero, more and more of them while training"

    def __call__(self, network: Layer, params: Params, state: State, workshop: Workshop) -> Made:
        return _grown(self, network, params, state, workshop, Masked, lambda own: (own, jax.tree.map(np.abs, own)))


class Movement(Technique):
    """Weights that training moves towards zero go, whatever their size: for networks that learnt something else before.

    A weight's score is ``S = −α·Σ_t ∂L/∂W'·W``: it falls while a step of the gradient makes ``|W|`` smaller. Scores learn by the same
    optimizer as the weights, straight through the mask (:class:`~danlu.nn.Moving`); the share of zeros grows as in :class:`Gradual`.

    Args:
        sparsity, by, epochs, ramp, keep: as of :class:`Gradual`.

    Reference: Sanh, Wolf & Rush (2020), "Movement pruning: adaptive sparsity by fine-tuning", arXiv:2005.07683, section 4: hard movement
    pruning, with the mask chosen anew forty times and not at every step.
    """

    sparsity: float = setting(default=0.8, above=0, below=1)
    by: str = setting(default="global", choices=BY[:2])
    epochs: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    ramp: float = setting(default=0.6, above=0, maximum=1)
    keep: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.sparsity:.0%} of the weights at zero, those that training moves there"

    def __call__(self, network: Layer, params: Params, state: State, workshop: Workshop) -> Made:
        return _grown(self, network, params, state, workshop, Moving, lambda own: (own["weights"], own["scores"]))


def _grown(
    technique: Any,
    network: Layer,
    params: Params,
    state: State,
    workshop: Workshop,
    through: Callable[[Layer], Any],
    ranked: Callable[[Any], tuple[Any, Any]],
) -> Made:
    epochs = technique.epochs or workshop.plan.epochs
    mask_of(params, params, technique.sparsity, keep=technique.keep)  # says what is wrong before the training
    steps = math.ceil(workshop.rows / workshop.plan.batch_size) * epochs
    first, last = steps // 10 if through is Moving else 0, max(1, round(technique.ramp * steps) - 1)
    begun = sparsity_of(params)
    at = sorted({round(first + (last - first) * i / _LOOKS) for i in range(_LOOKS + 1)})
    shares = {step: cubic(begun, technique.sparsity, (step - first) / max(1, last - first)) for step in at}

    def choose(own: Any, share: float) -> Any:
        weights, scores = ranked(own)
        return mask_of(weights, scores, share, by=technique.by, keep=technique.keep)

    sparsify = _Sparsify(network, choose, shares)
    params, state = workshop.tune(
        network, params, state, epochs=epochs, through=through, choose=False, callbacks=[sparsify]
    )
    return network, params, state


class _Sparsify(Callback):
    """Chooses the mask of a :class:`~danlu.nn.masked.Masked` network anew before some of the updates."""

    def __init__(self, network: Layer, choose: Callable[[Any, float], Any], shares: Mapping[int, float]) -> None:
        self.network, self.choose, self.shares = network, choose, shares
        self.steps = tuple(shares)

    def on_step(self, step: int, batch: Batch) -> None:
        training = self.training
        share = self.shares[step]
        mask = each_copy(self.network, jax.device_get(training.params), lambda own: self.choose(own, share))
        old = training.model_state["mask"]
        new = jax.tree.map(lambda kept, was: jax.numpy.asarray(kept, was.dtype), mask, old)
        training.state = dataclasses.replace(training.state, model_state={**training.model_state, "mask": new})
