"""A trained model as the user meets it: asked for predictions, and measured on new data."""

from __future__ import annotations

import abc
import dataclasses
import html
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from danlu.errors import ConfigError
from danlu.evaluate.intervals import figure
from danlu.pipeline.answers import IDENTIFIERS, rounded, write_frame
from danlu.pipeline.judge import Judgement
from danlu.prose import wrapped

__all__ = ["Model", "Say", "warn"]

Say = Callable[[str], None]


def warn(notice: str) -> None:
    """Tell the user on standard error."""
    print(wrapped(f"note: {notice}", indent="  "), file=sys.stderr)


def no_simple_model(name: str, purpose: str) -> ConfigError:
    """The error where no baseline is kept."""
    return ConfigError(
        f"no simple model, {name!r} or another, is kept with this model for {purpose}",
        hint="tables, images with a class each and sequences keep those that they were tested beside",
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Model(abc.ABC):
    """A trained model that checks what it is given.

    Attributes:
        predictor: the trained network with what stands between it and the user's data.
        metrics: its test scores.
        provenance: versions, time, and what it was trained on.
    """

    predictor: Any
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @abc.abstractmethod
    def predict(self, source: Any, *, lenient: bool = False, say: Say = warn) -> pl.DataFrame:
        """Predictions for a file, a frame, a folder or arrays.

        Args:
            lenient: whether what was never seen in training is taken as unknown, with a note, instead of refused.
            say: called with each notice.

        Raises:
            SchemaError: data that does not fit what the model was trained on.
        """

    @abc.abstractmethod
    def evaluate(self, source: Any, *, lenient: bool = False, say: Say = warn) -> Judgement:
        """The scores, with intervals, on data that holds the truth; arguments as of :meth:`predict`.

        Raises:
            SchemaError: data that does not fit what the model was trained on, or without the truth.
        """

    def using(self, name: str) -> Model:
        """The same model with a simple one that it was compared with in the network's place.

        Raises:
            ConfigError: there is no such model.
        """
        raise no_simple_model(name, self.purpose)

    def answers(
        self, source: Any, *, keep: str | Sequence[str] = IDENTIFIERS, lenient: bool = False, say: Say = warn
    ) -> pl.DataFrame:
        """The predictions as they are written: with the digits that mean something, beside columns of a table's rows.

        Args:
            keep: which columns of the rows: ``"identifiers"``, ``"all"``, ``"none"``, or their names.
            source, lenient, say: as of :meth:`predict`.

        Raises:
            ConfigError: columns to keep of what is no table, or which it does not have.
            SchemaError: see :meth:`predict`.
        """
        if keep not in (IDENTIFIERS, "none"):
            raise ConfigError(f"there are no columns to keep beside the answers of a model for {self.purpose}")
        return rounded(self.predict(source, lenient=lenient, say=say))

    def write(
        self,
        source: Any,
        output: str | Path,
        *,
        keep: str | Sequence[str] = IDENTIFIERS,
        lenient: bool = False,
        say: Say = warn,
    ) -> str:
        """Write the :meth:`answers` to a file of the kind of its ending (CSV, Parquet, JSON), and say what was written."""
        frame = self.answers(source, keep=keep, lenient=lenient, say=say)
        write_frame(frame, output)
        return f"{frame.height:,} predictions written to {output}"

    def next_steps(self, run: str, source: str) -> tuple[tuple[str, ...], ...]:
        """Arguments of ``danlu`` to try after the training, which work as they are.

        Args:
            run: the run's folder.
            source: what it learnt from.
        """
        return (("predict", run, source, "-o", "answers.csv"),)

    @property
    @abc.abstractmethod
    def purpose(self) -> str:
        """What it does, in a few words."""

    def _details_html(self) -> str:
        return ""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={figure(value)}" for name, value in self.metrics.items() if isinstance(value, float))
        return f"Model({self.purpose}{', ' + shown if shown else ''})"

    def _repr_html_(self) -> str:
        return f"<p><b>{html.escape(repr(self))}</b></p>{self._details_html()}"
