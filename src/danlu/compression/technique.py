"""What a step of compression is: a function from a network and its variables to the same."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, ClassVar, Self

from danlu.blueprint import Blueprint
from danlu.nn.layer import Layer, Params, State

if TYPE_CHECKING:
    from danlu.compression.workshop import Workshop
    from danlu.pipeline.again import Again
    from danlu.trained import Trained

__all__ = ["Made", "Technique"]

Made = tuple[Layer, Params, State]
"""A network with its variables."""


class Technique(Blueprint, abc.ABC):
    """One step of compression: ``technique(network, params, state, workshop) -> (network, params, state)``.

    It is data: frozen, and written into the model that it made. A technique that learns does so by :meth:`Workshop.tune`, the run's own
    training, and looks at no rows but the workshop's.

    Attributes:
        whole: whether it takes the whole model, a blend or an ensemble, and makes one network of it; such a technique comes first.
    """

    whole: ClassVar[bool] = False

    @abc.abstractmethod
    def __call__(self, network: Layer, params: Params, state: State, workshop: Workshop) -> Made:
        """The smaller network.

        Raises:
            ConfigError: it makes no sense for this network; the message says why, and what to do instead.
        """

    def settled(self, again: Again, model: Trained) -> Self:
        """The technique with what it takes from the run, before anything is done.

        Args:
            again: the run, ready to be trained again.
            model: its trained model.
        """
        return self

    def __str__(self) -> str:
        """What it does, in a few words."""
        return type(self).__name__
