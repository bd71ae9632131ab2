"""The lottery ticket: what is left after pruning is trained again from the weights that the training began with."""

from __future__ import annotations

import functools

import jax
import numpy as np

from danlu.blueprint import setting
from danlu.compression.masks import BY, check_pattern, each_copy
from danlu.compression.technique import Made, Technique
from danlu.compression.techniques.magnitude import pruned
from danlu.compression.workshop import Workshop
from danlu.errors import ConfigError
from danlu.nn.layer import Layer, Params, State

__all__ = ["LotteryTicket"]


class LotteryTicket(Technique):
    """Prune the trained network by size, set the weights that are left back to their initial values, and train them as the run was trained.

    The run's seed gives its initial weights again. In several rounds, each prunes what the round before trained.

    Args:
        sparsity: the share of zeros in the end, in (0, 1).
        by: as of :class:`~danlu.compression.Magnitude`.
        rounds: how often it is pruned and trained again, each time by the same share of what is left.
        epochs: of each training; None is the run's own number.
        keep: patterns of kernels that are not pruned.

    Reference: Frankle & Carbin (2019), "The lottery ticket hypothesis", arXiv:1803.03635, section 1 (iterative pruning with resetting).
    """

    sparsity: float = setting(default=0.8, above=0, below=1)
    by: str = setting(default="layer", choices=BY)
    rounds: int = setting(default=1, minimum=1, integer=True)
    epochs: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_pattern("LotteryTicket", self.by, self.sparsity)

    def __str__(self) -> str:
        return f"{self.sparsity:.0%} of the weights at zero, the others trained again from their first values"

    def __call__(self, network: Layer, params: Params, state: State, workshop: Workshop) -> Made:
        if workshop.initial is None:
            raise ConfigError(
                "the weights that this training began with are not known", hint="gradual pruning needs none"
            )
        first, begun = self._initial(workshop)
        if jax.tree.map(np.shape, first) != jax.tree.map(np.shape, params):
            raise ConfigError(
                "the network is not the one that the run began with, so its weights cannot be set back",
                hint="do this before the techniques that change the shape of a network",
            )
        plan = workshop.plan
        for number in range(1, self.rounds + 1):
            share = 1 - (1 - self.sparsity) ** (number / self.rounds)
            small = each_copy(network, params, functools.partial(pruned, sparsity=share, by=self.by, keep=self.keep))
            ticket = jax.tree.map(
                lambda leaf, own: np.where(own != 0, leaf, 0) if np.ndim(own) > 1 else leaf, first, small
            )
            params, state = workshop.tune(
                network, ticket, begun, epochs=self.epochs or plan.epochs, learning_rate=plan.learning_rate
            )
        return network, params, state

    @staticmethod
    def _initial(workshop: Workshop) -> tuple[Params, State]:
        given = workshop.initial
        pair = jax.tree.map(lambda *leaves: np.stack(leaves), *given) if isinstance(given, list) else given
        return jax.tree.map(np.asarray, pair)
