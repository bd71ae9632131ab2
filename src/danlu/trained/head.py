"""From a network's outputs to an answer: the last of the four parts of a trained model."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from danlu.evaluate import Evidence

if TYPE_CHECKING:
    from danlu.trained.trained import Trained

__all__ = ["Head", "namespace"]


def namespace(array: Any) -> Any:
    """``jax.numpy`` for JAX's arrays, ``numpy`` for others: what the functions of a head are written with."""
    return jnp if isinstance(array, jax.Array) else np


class Head(abc.ABC):
    """What makes an answer of a network's outputs, and words of the answer.

    A head is a frozen dataclass and a pytree, whose leaves are the arrays that were fitted after the training (a threshold, the
    width of intervals); everything else of it is static. Called with outputs it is a pure function: with JAX's arrays it may be
    compiled, differentiated and exported together with the network; with NumPy's it computes in float64, as predictions do.

    Attributes:
        kind: its tag in a saved model.
        batch: rows that the network sees at once. It is fixed, so that a row's answer does not depend on the rows beside it.
        verbs: further methods that the user finds on the model; the first argument is the model.
    """

    kind: ClassVar[str]
    batch: ClassVar[int] = 256
    verbs: ClassVar[tuple[str, ...]] = ()

    @property
    @abc.abstractmethod
    def task(self) -> str:
        """What is answered, such as ``"binary"`` or ``"segmentation"``."""

    @abc.abstractmethod
    def __call__(self, outputs: Any) -> Any:
        """The answer for the network's ``outputs``, arrays with a leading row axis. Pure."""

    def answer(self, trained: Trained, inputs: Any) -> Any:
        """The answers for encoded rows; a head that writes in a loop (a search, a game) does it here."""
        return self(trained.outputs(inputs))

    @abc.abstractmethod
    def frame(self, answers: Any, rows: Any = None) -> pl.DataFrame:
        """The answers in the user's words.

        Args:
            rows: the rows as they were read, for what is answered in their own measure.
        """

    def replies(self, answers: Any, rows: Any = None) -> list[dict[str, Any]]:
        """The answers as plain data, one for each row."""
        return self.frame(answers, rows).to_dicts()

    @abc.abstractmethod
    def evidence(self, answers: Any, truth: Any) -> Evidence:
        """What a test says: the answers beside the truth, which is encoded."""

    def tested(self, evidence: Evidence) -> str:
        """How much was tested, where it is not the rows of the evidence that are counted."""
        return ""

    def notes(self, evidence: Evidence) -> tuple[str, ...]:
        """What is to be said of a test, such as that no row of it is of a class."""
        return ()

    def beside(self, answers: Any, truth: Any, rows: Any = None) -> pl.DataFrame:
        """The answers of a test with the truth beside them, as they are written to ``predictions.csv``."""
        return self.frame(answers, rows)

    @property
    def name(self) -> str:
        """What the answer is called, such as the target's column; empty where it has no one name."""
        return ""

    @property
    def scale(self) -> float | None:
        """The spread of a quantity, which says how many digits of it mean something."""
        return None

    @abc.abstractmethod
    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The head as plain data and arrays."""

    @classmethod
    @abc.abstractmethod
    def from_state(cls, data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """The inverse of :meth:`state`.

        Raises:
            ArtifactError: it is damaged.
        """

    @abc.abstractmethod
    def check(self, network: Any, encoder: Any) -> None:
        """Refuse a network whose outputs are not this head's, or an encoder that it does not fit.

        Raises:
            ArtifactError: see above.
        """
