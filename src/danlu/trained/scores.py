"""The scores of held-out rows, from which intervals and sets of classes of any level follow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Self

import jax
import numpy as np

from danlu.errors import ArtifactError, ConfigError, unknown_name
from danlu.evaluate.conformal import (
    aps_scores,
    check_level,
    conformal_quantile,
    fit_spread,
    group_quantiles,
    highest_level,
    lac_scores,
    spread_helps,
    spread_of,
)

__all__ = ["SETS", "Asked", "Scores"]

SETS = {"lac": lac_scores, "aps": aps_scores}
_SURE = 0.2  # the range of what an interval may hold below which nothing is said of it
_MOST = 10_000  # rows whose scores are kept: those of more rows say hardly more


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is written beside the answers.

    Attributes:
        level: how often the interval or the set is to hold the true answer.
        score: of sets: ``"lac"`` or ``"aps"``.
        by_class: of sets: whether the level is to hold for the rows of each class.
    """

    level: float
    score: str = "lac"
    by_class: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", check_level(self.level))
        if self.score not in SETS:
            raise unknown_name("score of sets", self.score, SETS)


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """The scores of rows that were not learnt from; see :mod:`danlu.evaluate.conformal`.

    Attributes:
        values: absolute errors ``(n,)`` of a quantity, over its spread; for classes the score of the true one by each method, ``(n, 2)``.
        truth: the codes of the true classes ``(n,)``; None of a quantity.
        spread: of a quantity, how large errors are by the answer, see :func:`~danlu.evaluate.conformal.fit_spread`; None where an even
            width is as good.
    """

    values: Any
    truth: Any = None
    spread: Any = None

    @classmethod
    def of(
        cls,
        answers: np.ndarray,
        truth: np.ndarray,
        *,
        classes: bool,
        level: float = 0.9,
        weight: np.ndarray | None = None,
    ) -> Self:
        """The scores of held-out rows; of more than 10,000 rows those of as many, drawn at random.

        Args:
            answers: probabilities ``(n, classes)``, calibrated, or values ``(n,)``.
            truth: codes or values ``(n,)``.
            level: for which it is judged whether the width of intervals varies with the answer.
            weight: of the rows ``(n,)``; None is 1 each. Of unequal weights as many scores are kept as they are worth rows,
                ``(Σ w)²/Σ w²``, each score as often as its weight says.
        """
        answers, truth = np.asarray(answers, np.float64), np.asarray(truth)
        if weight is not None and np.ptp(weight) > 0:
            unlike = 1 - answers[np.arange(len(truth)), truth] if classes else np.abs(answers - truth)
            chosen = _by_weight(np.lexsort((unlike, truth)) if classes else np.argsort(unlike), np.asarray(weight))
            answers, truth = answers[chosen], truth[chosen]
        if len(truth) > _MOST:
            chosen = np.sort(np.random.default_rng(0).permutation(len(truth))[:_MOST])
            answers, truth = answers[chosen], truth[chosen]
        if not classes:
            errors = np.abs(answers - truth)
            if not spread_helps(answers, errors, level):
                return cls(errors)
            spread = fit_spread(answers, errors)
            return cls(errors / spread_of(spread, answers), None, spread)
        truth = truth.astype(np.int64)
        return cls(np.stack([score(answers, truth) for score in SETS.values()], axis=1), truth)

    def __len__(self) -> int:
        return len(self.values)

    def reach(self, asked: Asked, answers: Any, rows: Any = None) -> np.ndarray:
        """How far the interval of each answer reaches to either side, ``(rows,)``; infinite where there are too few rows."""
        limit, answers = conformal_quantile(self.values, asked.level), np.asarray(answers, np.float64)
        return np.full(answers.shape, limit) if self.spread is None else limit * spread_of(self.spread, answers)

    def limits(self, asked: Asked, classes: int) -> np.ndarray:
        """The highest score of each class that is still in a set, ``(classes,)``; infinite where there are too few rows."""
        values = np.asarray(self.values)[:, list(SETS).index(asked.score)]
        if asked.by_class:
            return group_quantiles(values, np.asarray(self.truth), asked.level, classes)
        return np.full(classes, conformal_quantile(values, asked.level))

    def sets(self, probability: np.ndarray, asked: Asked, rows: Any = None) -> np.ndarray:
        """Which classes are in the set of each row, bool ``(rows, classes)``. The likeliest always is, which can only make it surer."""
        probability = np.asarray(probability, np.float64)
        found = SETS[asked.score](probability) <= self.limits(asked, probability.shape[1]) + 1e-12
        found[np.arange(len(found)), probability.argmax(axis=1)] = True
        return found

    def doubts(self, asked: Asked, names: tuple[str, ...] = ()) -> tuple[str, ...]:
        """What is to be said of a level that the rows are too few for."""
        sure = f"{100 * asked.level:g} %"
        if not names:
            if np.isfinite(conformal_quantile(self.values, asked.level)):
                return ()
            return (f"an interval of {sure} is here of all numbers: {_few(len(self))}",)
        lacking = np.flatnonzero(~np.isfinite(self.limits(asked, len(names))))
        if not lacking.size:
            return ()
        if not asked.by_class:
            return (f"a set of {sure} is here of all classes: {_few(len(self))}",)
        shown = ", ".join(repr(names[code]) for code in lacking[:6]) + (" and others" if lacking.size > 6 else "")
        which = "this class" if lacking.size == 1 else "these classes"
        return (f"every set holds {shown}: too few of the rows not learnt from are of {which} for {sure}",)

    def wavers(self, asked: Asked) -> tuple[str, ...]:
        """What is to be said where so few rows give the width that how often it holds for new rows is a matter of chance.

        Of ``n`` scores, the share of new rows that the interval holds is a draw from ``Beta(k, n + 1 − k)``, ``k = ⌈(n + 1)·level⌉``: the
        level is that of the mean over all draws of the ``n`` rows.

        Reference: Vovk, "Conditional validity of inductive conformal predictors" (2012), section 2.
        """
        rows = len(self)
        rank = math.ceil((rows + 1) * asked.level - 1e-9)
        if asked.by_class or rank > rows:
            return ()
        from scipy.special import betaincinv

        low, high = betaincinv(rank, rows + 1 - rank, [0.05, 0.95])
        if high - low < _SURE:
            return ()
        return (
            f"only {rows:,} rows not learnt from say what {100 * asked.level:g} % takes: of new rows these will hold in {100 * low:.0f} to "
            f"{100 * high:.0f} %, by chance; more rows, or training with --folds 5, make it surer",
        )

    def state(self) -> dict[str, np.ndarray]:
        """The arrays by name: ``scores`` ``(rows,)``, and where there are any ``scores_of`` ``(rows,)`` and ``spread``."""
        truth = {} if self.truth is None else {"scores_of": np.asarray(self.truth, np.int32)}
        spread = {} if self.spread is None else {"spread": np.asarray(self.spread, np.float64)}
        return {"scores": np.asarray(self.values, np.float64), **truth, **spread}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], classes: int) -> Self | None:
        """The inverse of :meth:`state`; None where nothing was saved.

        Args:
            classes: how many the target has; 0 is a quantity.

        Raises:
            ArtifactError: they do not fit the target.
        """
        values, truth, spread = arrays.get("scores"), arrays.get("scores_of"), arrays.get("spread")
        if values is None:
            return None
        shape = (len(values), len(SETS)) if classes else (len(values),)
        fits = (
            values.shape == shape and values.dtype.kind == "f" and np.isfinite(values).all() and (values >= -1e-9).all()
        )
        if classes:
            given = np.zeros(0) if truth is None else truth
            fits = fits and given.shape == (len(values),) and given.dtype.kind in "iu"
            fits = fits and (not len(given) or 0 <= given.min() <= given.max() < classes)
        if spread is not None:
            fits = fits and not classes and spread.ndim == 2 and len(spread) == 2 and spread.size > 0
            fits = fits and bool(np.isfinite(spread).all() and (np.diff(spread[0]) > 0).all() and (spread[1] > 0).all())
        if not fits:
            raise ArtifactError("the saved scores of held-out rows do not fit the target")
        codes = None if truth is None else truth.astype(np.int64)
        return cls(values.astype(np.float64), codes, None if spread is None else spread.astype(np.float64))


jax.tree_util.register_dataclass(Scores, data_fields=["values", "truth", "spread"], meta_fields=[])


def _by_weight(order: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Rows at even steps of the weight in this order, as many as the weights are worth: the quantiles of the rows are those by weight."""
    share = np.cumsum(weight[order].astype(np.float64)) / weight.sum(dtype=np.float64)
    count = max(round(float(weight.sum() ** 2 / (weight.astype(np.float64) ** 2).sum())), 1)
    return np.asarray(order[np.minimum(np.searchsorted(share, (np.arange(count) + 0.5) / count), len(order) - 1)])


def _few(rows: int) -> str:
    most = f"the highest level is {math.floor(1000 * highest_level(rows)) / 10:g} %" if rows else "there is no level"
    return f"{most} with {rows:,} rows not learnt from"


def none_kept(what: str) -> ConfigError:
    """The error of a model that no interval or set can be asked of."""
    return ConfigError(
        f"this model gives no {what}: it has no scores of rows that it did not learn from",
        hint="give rows with true answers that it did not learn from: --scores FILE, in Python scored_on; or train it again",
    )
