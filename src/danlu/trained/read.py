"""New data in the form that a trained model takes, and its readers."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from danlu.errors import DanluError
from danlu.prose import wrapped

if TYPE_CHECKING:
    from danlu.trained.trained import Trained

__all__ = ["Read", "Reader", "Say", "reading", "warn", "without_settings"]

Say = Callable[[str], None]

_SETTING = r"data\.[a-z]+=\S+ ?[^();]*"
_REMEDY = re.compile(
    rf" \((?:if that is wrong: )?{_SETTING}\)|[;,] (?:if that is wrong, |or )say {_SETTING}(?:\(in Python [^()]*\))?"
)


def warn(notice: str) -> None:
    """Tell the user on standard error."""
    print(wrapped(f"note: {notice}", indent="  "), file=sys.stderr)


def without_settings(text: str) -> str:
    """What is said about a file, without the settings that a training reads files by: new data have none.

    >>> without_settings("no header line: the columns are c1, c2 (if that is wrong: data.header=yes, in Python header=True)")
    'no header line: the columns are c1, c2'
    >>> without_settings("repair the header, or say data.header=no if the first line is data (in Python header=False)")
    'repair the header'
    """
    return _REMEDY.sub("", text)


@contextlib.contextmanager
def reading(say: Say) -> Iterator[Say]:
    """While new data is read: ``say`` for its notices; these and errors name no setting of a training."""
    try:
        yield lambda notice: say(without_settings(notice))
    except DanluError as error:
        if error.hint is None or without_settings(error.hint) == error.hint:
            raise
        raise type(error)(error.message, hint=without_settings(error.hint)) from error


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
