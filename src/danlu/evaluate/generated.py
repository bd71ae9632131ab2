"""Measuring what draws new rows: how well it knows test rows, and how far what it draws is from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.families import LOSS, MEAN, SHARE
from danlu.evaluate.measures import Measure, register

__all__ = ["Drawings", "RowScores", "frechet"]

register(
    Measure("frechet", "Fréchet distance", False, LOSS),
    Measure("label_shown", "shows its label", True, SHARE),
    Measure("nearest", "distance to training rows", True, MEAN),
    Measure("elbo", "nats a row (−ELBO)", False, MEAN),
    Measure("importance_weighted", "nats a row (32 codes)", False, MEAN),
    Measure("denoising_loss", "denoising loss", False, LOSS),
    Measure("velocity_loss", "velocity loss", False, LOSS),
    Measure("critic", "the critic's doubt", False, MEAN),
    Measure("negative_log_likelihood", "nats a row", False, MEAN),
)


@dataclasses.dataclass(frozen=True, eq=False)
class RowScores(Evidence):
    """What a model that draws says of test rows: some values of each, lower is better; models are compared by the mean of the first.

    Attributes:
        values: float64 ``(rows, measures)``.
        names: the measures, such as ``("elbo", "importance_weighted")``.
        of: a number of each row, by which the rows are known again ``(rows,)``.

    Example:
        >>> str(RowScores(np.arange(100.0)[:, None], ("elbo",), np.arange(100)).scores()["elbo"])
        '49.5 (43.25 to 55.75)'
    """

    values: np.ndarray
    names: tuple[str, ...]
    of: np.ndarray

    noun: ClassVar[str] = "test rows"
    unlike: ClassVar[str] = "the two models' scores are of different rows; expected the same rows in the same order"

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.names) or not len(self.values):
            raise DataError(
                f"scores of shape {self.values.shape} for the measures {', '.join(self.names)}; expected a row or more, a column each"
            )

    @property
    def primary(self) -> str:
        """The first measure."""
        return self.names[0]

    def __len__(self) -> int:
        return len(self.values)

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        """The mean of each; ``weights (rows,)`` says how often each row counts."""
        by = np.ones(len(self)) if weights is None else weights
        means = by @ self.values / by.sum()
        return {
            name: float(mean) for name, mean in zip(self.names, means, strict=True) if names is None or name in names
        }

    def _take(self, rows: np.ndarray) -> Self:
        return dataclasses.replace(self, values=self.values[rows], of=self.of[rows])

    def _same(self, other: Self) -> bool:
        return np.array_equal(self.of, other.of) and self.names[0] == other.names[0]


@dataclasses.dataclass(frozen=True, eq=False)
class Drawings(Evidence):
    """Drawn rows beside as many test rows: row i is a test row and a drawn one, and both are left out together.

    The measures are the Fréchet distance of the two sets of features (``frechet``); how often what was drawn shows the label that it was
    told (``label_shown``); how far drawn rows are from the nearest training row, as a multiple of how far test rows are (``nearest``: 1 is
    as new as the test rows, near 0 are copies); and what the model says of the test rows, as of :class:`RowScores`.

    Attributes:
        real, drawn: features of test rows and of drawn ones ``(rows, features)``.
        near: distance to the nearest training row of each test row and of each drawn one ``(rows, 2)``.
        hits: whether what was drawn shows its label ``(rows,)``; empty without labels.
        values: what the model says of the test rows ``(rows, measures)``; of a simple model without such values ``(rows, 0)``.
        names: these measures.

    Reference: Heusel et al., "GANs trained by a two time-scale update rule" (2017), eq. 6; here in features of danlu's own, so that
    distances are comparable on the same data only.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> real, drawn = rng.normal(size=(2, 300, 2)) + np.array([[[0.0]], [[1.0]]])
        >>> found = Drawings(real, drawn, np.ones((300, 2)), np.zeros(0), np.zeros((300, 0)), ())
        >>> bool(abs(found.measures()["frechet"] - 2) < 0.3)
        True
    """

    real: np.ndarray
    drawn: np.ndarray
    near: np.ndarray
    hits: np.ndarray
    values: np.ndarray
    names: tuple[str, ...]

    primary: ClassVar[str] = "frechet"
    noun: ClassVar[str] = "test images"
    unlike: ClassVar[str] = "what was drawn is compared with other test rows; expected the same rows in the same order"

    def __len__(self) -> int:
        return len(self.real)

    @property
    def size(self) -> int:
        return self.real.size + self.drawn.size

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        """See the class; ``weights (rows,)`` says how often each pair counts."""
        by = np.ones(len(self)) if weights is None else weights
        of: dict[str, Callable[[], float]] = {"frechet": lambda: frechet(self.real, self.drawn, by)}
        if len(self.hits):
            of["label_shown"] = lambda: float(by @ self.hits / by.sum())
        of["nearest"] = lambda: float(by @ self.near[:, 1] / max(by @ self.near[:, 0], 1e-12))
        for column, name in enumerate(self.names):
            of[name] = lambda column=column: float(by @ self.values[:, column] / by.sum())  # type: ignore[misc]
        return {name: measure() for name, measure in of.items() if names is None or name in names}

    def _take(self, rows: np.ndarray) -> Self:
        own = {name: getattr(self, name)[rows] for name in ("real", "drawn", "near", "values")}
        return dataclasses.replace(self, **own, hits=self.hits[rows] if len(self.hits) else self.hits)

    def _same(self, other: Self) -> bool:
        return np.array_equal(self.real, other.real)


def frechet(real: np.ndarray, drawn: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The Fréchet distance of two Gaussians with the means and covariances of two sets: ``|m − m'|² + tr(C + C' − 2·(C·C')^½)``.

    Args:
        real, drawn: ``(rows, features)``, ``(other rows, features)``.
        weights: how often each row counts, in both, where they have as many.

    Reference: Dowson & Landau, "The Fréchet distance between multivariate normal distributions" (1982), eq. 4.

    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(frechet(x, x), 6), round(frechet(x, x + 2), 4)
    (0.0, 12.0)
    """
    moments = []
    for rows in (real, drawn):
        rows = np.asarray(rows, np.float64)
        by = np.ones(len(rows)) if weights is None else weights
        mean = by @ rows / by.sum()
        off = (rows - mean) * np.sqrt(by)[:, None]
        moments.append((mean, off.T @ off / max(by.sum() - 1, 1.0)))
    (mean, spread), (other, wide) = moments
    found, axes = np.linalg.eigh(spread)
    root = axes * np.sqrt(np.maximum(found, 0)) @ axes.T
    both = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ wide @ root), 0)).sum()
    return float(max(np.square(mean - other).sum() + np.trace(spread) + np.trace(wide) - 2 * both, 0.0))
