"""What comes back from a job that was done elsewhere."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from danlu.errors import DanluError

__all__ = ["Answer", "Pool", "answered"]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came of a job: a result, or an error that was made on purpose.

    Attributes:
        stopped_by: the number of the signal that stopped it.
        died: how its worker ended, when there is no answer.
    """

    result: Any = None
    error: BaseException | None = None
    stopped_by: int | None = None
    died: str | None = None


def answered(function: Callable[[Any], Any], job: Any) -> Answer:
    """A job done, within a worker."""
    try:
        return Answer(function(job))
    except DanluError as error:
        return Answer(error=error, stopped_by=getattr(error, "stopped_by", None))
    except Exception as error:
        error.add_note(f"in a worker:\n{traceback.format_exc()}")
        return Answer(error=error)


class Pool(Protocol):
    """Where jobs are done."""

    def begin(self, number: int, job: Any) -> None:
        """Begin a job, which is known by its number."""

    def wait(self, seconds: float) -> Iterator[tuple[int, Answer]]:
        """The jobs that have ended since the last call; it takes at most so long if there are none."""

    def ask(self, number: int) -> None:
        """Pass a signal to stop on to all that is under way."""
