"""Evidence: the rows of a test with what was predicted for them, from which scores, intervals and comparisons are made."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.intervals import Interval, intervals

__all__ = ["Evidence"]


class Evidence(abc.ABC):
    """Test rows (or images, sentences, windows, …) with what was predicted for them: what measures are computed from.

    A kind of evidence says what its measures are for any weights of the rows (:meth:`measures`), which of them models are compared by
    (:attr:`primary`), what the evidence of some of its rows is (:meth:`take`), and whether other evidence is of the same rows
    (:meth:`check_same`). The rest is written once: :meth:`scores`, :func:`~danlu.evaluate.intervals`,
    :func:`~danlu.evaluate.difference`, :func:`~danlu.evaluate.compare`.

    Example:
        >>> from danlu.evaluate import Rows
        >>> rows = Rows("regression", [1.0, 2.0, 3.0], [1.0, 2.5, 2.0])
        >>> rows.primary, len(rows.take([0, 2])), rows.take([0, 2]).measures()["mae"]
        ('rmse', 2, 0.5)
    """

    noun: ClassVar[str] = "test rows"
    """What the rows are called, in the plural."""
    paired: ClassVar[bool] = True
    """Whether rows of the same number in two comparable pieces of evidence are the same row; False where they are independent."""
    unlike: ClassVar[str] = "the two predictions are for different rows; expected the same rows in the same order"
    """What :meth:`check_same` says of other rows."""
    eased: ClassVar[bool] = False
    """Whether a test without some of its rows is easier, such as that of episodes with fewer classes. Intervals then go by how
    differently the parts count, and not by how much easier it is without any of them."""
    shared: float = 0.0
    """Of rows that were answered by the models of folds: the rows that a model was tested on, over those that it learnt from; else 0.

    These models learnt from the same rows, so that a row's chance enters many answers: the variance of a score is larger than that of the
    rows as they come, by about this share of it, and its interval is wider by the root of that. It is the share by which Nadeau & Bengio
    (2003) correct the variance of the folds' mean, here of all rows together.
    """

    @abc.abstractmethod
    def __len__(self) -> int:
        """How many rows there are."""

    @property
    @abc.abstractmethod
    def primary(self) -> str:
        """The measure that models are compared by, one of :meth:`measures`."""

    @abc.abstractmethod
    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        """Measures by name, NaN where one is not defined.

        Args:
            weights: how often each row counts, ``(rows,)``; None is once.
            names: which measures; None is all.
        """

    def take(self, rows: Any) -> Self:
        """The evidence of some rows: a slice, a group, a fold, a resample.

        Args:
            rows: their numbers from 0, ``(rows,)``, in any order; a row that is given twice counts as two.

        Raises:
            DataError: no rows, numbers of rows that do not exist, or something else than whole numbers.
        """
        numbers = np.asarray(rows)
        if numbers.ndim != 1 or not len(numbers) or numbers.dtype.kind not in "iu":
            raise DataError(
                f"rows are of the type {numbers.dtype} and the shape {numbers.shape}; expected the numbers of one row or more"
            )
        if numbers.min() < 0 or numbers.max() >= len(self):
            raise DataError(f"row numbers from {numbers.min()} to {numbers.max()}; expected 0 to {len(self) - 1}")
        return self._take(numbers)

    @abc.abstractmethod
    def _take(self, rows: np.ndarray) -> Self:
        """:meth:`take`, of numbers that are known to exist."""

    def joined(self, others: Sequence[Self], rows: np.ndarray | None = None) -> Self:
        """This evidence and that of other rows as one, such as that of all folds of a cross-validation.

        Args:
            others: of the same kind.
            rows: the number of the row that each is of, ``(rows,)``, in the order of the result: those of one number are not independent
                of each other; None where each is there once.

        Raises:
            DataError: evidence of a kind that is not joined.
        """
        raise DataError(f"{type(self).__name__} is not joined with other evidence; expected one test of all rows")

    def check_same(self, other: Evidence) -> None:
        """Refuse evidence that this one cannot be compared with.

        Raises:
            DataError: of another kind, or of other rows.
        """
        if type(other) is not type(self):
            raise DataError(
                f"{type(self).__name__} cannot be compared with {type(other).__name__}; expected evidence of the same kind"
            )
        if not self._same(other):
            raise DataError(self.unlike)

    @abc.abstractmethod
    def _same(self, other: Self) -> bool:
        """Whether other evidence of this kind is of the same rows."""

    @property
    def constant(self) -> bool:
        """Whether all rows were given the same answer; False if the evidence does not show that."""
        return False

    def scores(self, *, seed: int = 0) -> dict[str, Interval]:
        """The measures that are defined, with their 95 % intervals; see :func:`~danlu.evaluate.intervals`."""
        return intervals(self, seed=seed)

    def support(self, name: str) -> float:
        """How many rows a measure rests on: those of the rarer class for a ROC-AUC, say."""
        return float(len(self))

    def shares(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """For a measure that is the mean of shares of different rows (an accuracy is one such share): the hits and rows of each."""
        return None

    @property
    def together(self) -> np.ndarray | None:
        """A number for each row, the same for rows that are not independent of each other; None when all are."""
        return None

    @property
    def size(self) -> int:
        """How many numbers one computation of the measures reads."""
        return len(self)

    def doubted(self, name: str) -> float:
        """How much a loss would rise with one more row that is as confident as the others but wrong; 0 if that is not defined."""
        return 0.0

    def middle(self, name: str, level: float) -> tuple[float, float]:
        """The interval of a measure of the family ``"middle"``."""
        return float("nan"), float("nan")

    def terms(self, name: str, part: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of a measure of the family ``"gap"``: the numbers whose sizes, or squares, it adds up.

        Args:
            part: the part that each row belongs to, ``(rows,)``, from 0.

        Returns:
            The terms ``(terms,)``, those without the rows of each part ``(parts, terms)``, and the least variance of each that is to
            be reckoned with ``(terms,)``.
        """
        none = np.zeros(0)
        return none, np.zeros((int(part.max()) + 1, 0)), none

    def left_out(self) -> Mapping[str, str]:
        """Measures that a reader may look for and that are not defined for these rows, each with why."""
        return {}
