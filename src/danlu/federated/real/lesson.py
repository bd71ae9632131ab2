"""What a server and its owners train: the arguments of :func:`~danlu.federated.fit_clients` as plain data."""

from __future__ import annotations

from danlu.blueprint import Blueprint, setting
from danlu.engine import FitOptions
from danlu.errors import ConfigError
from danlu.federated.method import Method
from danlu.nn.layer import Layer

__all__ = ["Lesson"]


class Lesson(Blueprint):
    """What is trained, and how: the same for all owners.

    Args:
        model: the network.
        loss, metrics: by name.
        optimizer: of the owners, by name, begun anew in each round.
        learning_rate: its rate; None is the optimizer's own.
        method: what owners do besides their steps, and what the server makes of the mean.
        local_epochs: how often an owner goes through its rows in a round, or
        local_steps: how many steps it takes.
        options: of a training; ``epochs`` are rounds, and owner i draws as a training of the seed ``seed + i`` does.

    Example:
        >>> from danlu import nn
        >>> lesson = Lesson(nn.Dense(1), "mse", learning_rate=0.1, options=FitOptions(epochs=20))
        >>> lesson.method.name, lesson.options.epochs
        ('fedavg', 20)
    """

    model: Layer
    loss: str
    metrics: tuple[str, ...] = ()
    optimizer: str = "sgd"
    learning_rate: float | None = setting(default=None, above=0, optional=True)
    method: Method = Method()
    local_epochs: int = setting(default=1, minimum=1, integer=True)
    local_steps: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    options: FitOptions = FitOptions()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method.own:
            raise ConfigError(
                f"Method.own is {list(self.method.own)}; parts of a network that stay with each owner are for simulations, "
                "since what a server saves is the shared network"
            )
