"""Several requests answered by one pass of the model, each as if it had been alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from danlu.errors import DanluError
from danlu.trained import Trained

__all__ = ["Answered", "Records", "respond_together"]

Records = Sequence[Mapping[str, Any]]


class Answered(NamedTuple):
    """The answers to one request's records, with what is to be said about them."""

    answers: list[dict[str, Any]]
    notes: tuple[str, ...]


def respond_together(trained: Trained, requests: Sequence[Records]) -> list[Answered | DanluError]:
    """What ``trained.respond`` says to each request, computed together.

    A row's answer does not depend on the rows beside it. But an error, or a note, is about one request and counts its records: where
    there is one, the requests are halved until it stands alone. So ``k`` such requests among ``n`` cost about ``k·log n`` passes more.
    """
    notes: list[str] = []
    try:
        found = trained.respond([record for records in requests for record in records], say=notes.append)
    except DanluError as error:
        if len(requests) == 1:
            return [error]
    else:
        if len(requests) == 1:
            return [Answered(found, tuple(notes))]
        if not notes:
            parts = iter(found)
            return [Answered([next(parts) for _ in records], ()) for records in requests]
    half = len(requests) // 2
    return respond_together(trained, requests[:half]) + respond_together(trained, requests[half:])
