"""What a search needs from a kind of data: to train some trials side by side, rung by rung, and to say how good each is."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import ClassVar

from danlu.pipeline.config import TrainConfig

__all__ = ["Contest", "Progress", "Stopped", "rungs_of", "side_by_side"]

Progress = Callable[[float], None]
"""Told how many epochs of a trial (or of what there is instead) were done since the last call."""


class Stopped(Exception):  # noqa: N818
    """A signal ended a training; the batch is left for the search to be gone on with.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Contest(abc.ABC):
    """Trials of one structure that are trained side by side; those that lose are dropped.

    Attributes:
        rungs: after how many epochs (or of what there is instead) the trials are compared; the last are all.
        unit: what is counted.
    """

    rungs: tuple[int, ...]
    unit: ClassVar[str] = "epochs"

    def __init__(self, configs: Sequence[TrainConfig]) -> None:
        self.configs = list(configs)

    @abc.abstractmethod
    def go(self, epochs: int, progress: Progress) -> list[float]:
        """Train all that are left until they have had so many epochs: the best score of each so far; NaN of one that diverged."""

    @abc.abstractmethod
    def keep(self, places: Sequence[int]) -> None:
        """Drop all but those at these places among the ones that are left."""


def rungs_of(epochs: int, factor: int) -> tuple[int, ...]:
    """Two rungs before the last epoch, each ``factor`` times lower than the next; fewer where there are few epochs.

    Reference:
        Jamieson & Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization" (AISTATS 2016); the factor of Li
        et al., "Hyperband" (2018).

    Example:
        >>> rungs_of(40, 3), rungs_of(2, 3)
        ((5, 14, 40), (1, 2))
    """
    lower = {-(-epochs // factor**2), -(-epochs // factor), epochs}
    return tuple(sorted(each for each in lower if each > 0))


def side_by_side(trials: int) -> int:
    """How many trials share one program: all where there are accelerators; on a CPU one, whose folds keep the cores busy.

    On two cores an epoch of one trial of five folds takes the same time alone and among 2, 4 or 8 (see ``benchmarks/results/tune.md``),
    and a program of one trial need not be compiled anew when others have been dropped.
    """
    import jax

    return 1 if jax.default_backend() == "cpu" else max(trials, 1)
