"""What was usual in training, and what is served now: counts beside counts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import polars as pl

from danlu.errors import ConfigError
from danlu.evaluate.histograms import Drift, Histogram, drifts
from danlu.trained import Trained
from danlu.watch.traits import of_answers, of_inputs, of_rows

__all__ = ["Watch", "profile_of", "told"]


def profile_of(
    trained: Trained, *, rows: Any = None, inputs: Any = None, judged: Any = None, shown: Any = None
) -> tuple[Histogram, ...]:
    """What is usual: a histogram of each trait of training rows, and of the answers to rows that were not learnt from.

    Args:
        rows: training rows as they were read; or
        inputs: encoded ones.
        judged: encoded rows that were not learnt from; None leaves the answers out.
        shown: these as they were read, for a head that answers in their own measure.
    """
    found = of_rows(trained, rows) if inputs is None else of_inputs(trained, inputs)
    if judged is not None:
        found += of_answers(trained, trained.answer(judged), shown)
    return tuple(Histogram.of(each) for each in found if len(each))


class Watch:
    """Counts of what a model is asked and answers; no row is kept. It may be added to from several threads.

    Args:
        trained: the model.
        profile: what was usual in its training; None is the one that it was saved with.

    Raises:
        ConfigError: a model without a profile.

    Example:
        >>> import tempfile, danlu
        >>> rows = {"x": [float(i) for i in range(100)], "y": ["low", "high"] * 50}
        >>> model = danlu.train(rows, target="y", runs=tempfile.mkdtemp(), display="none", say=lambda line: None,
        ...                     model={"members": 2, "width": 8}, trainer={"epochs": 1}).model
        >>> watch = Watch(model)
        >>> watch.add(model.encoder.rows([{"x": 200.0 + i} for i in range(100)], print))
        >>> [(each.name, each.sure) for each in watch.drift()][0]
        ('x', True)
    """

    def __init__(self, trained: Trained, profile: Sequence[Histogram] | None = None) -> None:
        usual = trained.profile if profile is None else profile
        if not usual:
            raise ConfigError(
                f"this model for {trained.purpose} was saved without a profile of its training data, which new rows are compared with",
                hint="danlu monitor RUN LOG --reference FILE compares with the rows of a file",
            )
        self.trained = trained
        self.usual = {each.name: each for each in usual}
        self.now = {name: each.empty() for name, each in self.usual.items()}
        self._lock = threading.Lock()

    def add(self, rows: Any, answers: Any = None) -> None:
        """Count rows as they were read, and the head's answers to them; None leaves these out."""
        found = of_rows(self.trained, rows)
        if answers is not None:
            found += of_answers(self.trained, answers, rows)
        self.count(found)

    def count(self, traits: Sequence[pl.Series]) -> None:
        """Count traits."""
        counted = {each.name: self.usual[each.name].count(each) for each in traits if each.name in self.usual}
        with self._lock:
            for name, more in counted.items():
                self.now[name] = self.now[name] + more

    def drift(self) -> list[Drift]:
        """How far everything is from what was usual, the surest and largest first; what was never counted is left out."""
        with self._lock:
            now = {name: each for name, each in self.now.items() if len(each)}
        return drifts([each for name, each in self.usual.items() if name in now], now)

    def rows(self) -> int:
        """How many rows were counted."""
        return max((len(each) for each in self.now.values()), default=0)

    def as_dict(self) -> dict[str, Any]:
        """What is known, as plain data."""
        found = self.drift()
        return {"rows": self.rows(), "drifted": [d.name for d in found if d.sure], "each": [d.as_dict() for d in found]}


def told(found: Sequence[Drift], rows: int) -> str:
    """The whole in a sentence."""
    sure = [each for each in found if each.sure]
    if found and not any(each.enough for each in found):
        return f"{rows:,} rows are too few to tell whether anything has changed"
    if not sure:
        return f"nothing of {len(found)} that is watched has changed more than chance allows, in {rows:,} rows"
    return f"{len(sure)} of {len(found)} that are watched have changed, in {rows:,} rows: {', '.join(each.name for each in sure[:8])}"
