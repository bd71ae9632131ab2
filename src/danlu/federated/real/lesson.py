"""What a server and its owners train: a recipe, and how the rounds of it go, as plain data."""

from __future__ import annotations

import math

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError
from danlu.federated.method import Method
from danlu.optim import Optimizer, adamw, chain, clip_by_global_norm, sgd
from danlu.tasks import Recipe

__all__ = ["Lesson"]


class Lesson(Blueprint):
    """What is trained, and how: the same for all owners.

    Args:
        recipe: the network, its loss, the batches and the settings of AdamW.
        metrics: what owners measure beside the loss, by name.
        rounds: how many.
        method: what owners do besides their steps, and what the server makes of the mean.
        local_epochs: how often an owner goes through its rows in a round, or
        local_steps: how many steps it takes.
        optimizer: of the owners, begun anew in each round: ``"adamw"`` with the recipe's clipping and decay, or ``"sgd"``.
        learning_rate: its rate in the first round.
        schedule: of the rate over the rounds: ``"cosine"`` takes it down to 0, ``"constant"`` leaves it.
        seed: owner i draws as a training of the seed ``seed + i`` does.

    Example:
        >>> from danlu import nn
        >>> lesson = Lesson(Recipe(nn.Dense(1), "mse"), rounds=20)
        >>> lesson.method.name, round(lesson.rate(10), 6)
        ('fedavg', 0.004)
    """

    recipe: Recipe
    metrics: tuple[str, ...] = ()
    rounds: int = setting(default=50, minimum=1, integer=True)
    method: Method = Method()
    local_epochs: int = setting(default=1, minimum=1, integer=True)
    local_steps: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    optimizer: str = setting(default="adamw", choices=("adamw", "sgd"))
    learning_rate: float = setting(default=8e-3, above=0)
    schedule: str = setting(default="cosine", choices=("cosine", "constant"))
    seed: int = setting(default=0, minimum=0, maximum=2**32 - 1, integer=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method.own:
            raise ConfigError(
                f"Method.own is {list(self.method.own)}; parts of a network that stay with each owner are for simulations, "
                "since what a server saves is the shared network"
            )

    def rate(self, number: int) -> float:
        """The owners' rate in a round, from 0."""
        if self.schedule == "constant" or self.rounds < 2:
            return self.learning_rate
        return self.learning_rate * (1 + math.cos(math.pi * number / self.rounds)) / 2

    def made(self) -> Optimizer:
        """The owners' optimizer."""
        if self.optimizer == "sgd":
            return sgd(self.learning_rate)
        plan = self.recipe
        decayed = adamw(self.learning_rate, beta2=plan.beta2, weight_decay=plan.weight_decay, mask=plan.decays)
        return chain(clip_by_global_norm(plan.clip_norm), decayed)
