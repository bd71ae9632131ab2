"""New data in the form that a trained model takes, and its readers."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from danlu.prose import wrapped

if TYPE_CHECKING:
    from danlu.trained.trained import Trained

__all__ = ["Read", "Reader", "Say", "warn"]

Say = Callable[[str], None]


def warn(notice: str) -> None:
    """Tell the user on standard error."""
    print(wrapped(f"note: {notice}", indent="  "), file=sys.stderr)


@dataclasses.dataclass(frozen=True)
class Read:
    """New data, checked.

    Attributes:
        rows: as the encoder takes them: a frame, images, texts, ….
        truth: what is to be predicted of each, encoded as the head takes it; None where the source does not say or it was not asked for.
        names: of the rows, where they have any, such as file names.
        given: all columns of a table, as they were read, a row a row of ``rows``.
        noun: what the rows are called instead of what the evidence calls them.
    """

    rows: Any
    truth: Any = None
    names: pl.Series | None = None
    given: pl.DataFrame | None = None
    noun: str = ""


class Reader(Protocol):
    """Reads the user's files of one kind of data; a domain of :mod:`danlu.pipeline` is one.

    Attributes:
        kind: its tag in a saved model.
        takes: the types of new data that it reads; empty leaves the check to :meth:`read`.
    """

    @property
    def kind(self) -> str: ...

    @property
    def takes(self) -> tuple[type, ...]: ...

    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
        """New data of ``source``, checked against what the model was trained on.

        Args:
            lenient: whether what was never seen in training is taken as unknown, with a notice, instead of refused.
            say: called with each notice.
            truth: whether it is to be measured: the truth is needed then.

        Raises:
            SchemaError: it does not fit.
        """
        ...

    def purpose(self, trained: Trained) -> str:
        """What the model does, in a few words."""
        ...

    def for_simple(self, inputs: Any) -> Any:
        """Encoded rows as the simple models take them."""
        ...

    def write(
        self, trained: Trained, source: Any, output: str | Path, *, keep: str | Sequence[str], lenient: bool, say: Say
    ) -> str:
        """Write the answers to a file, and say what was written."""
        ...

    def next_steps(self, trained: Trained, run: str, source: str) -> tuple[tuple[str, ...], ...]:
        """Arguments of ``danlu`` to try after the training, which work as they are."""
        ...
