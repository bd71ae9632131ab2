"""New rows of a table for a model whose answers have no truth in the table."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.data import check_frame, read_table
from danlu.trained import Say, Trained
from danlu.trained.read import Read

__all__ = ["read_rows"]


def read_rows(trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
    """The rows, checked against the schema; see :meth:`danlu.pipeline.domain.Domain.read`."""
    table = read_table(source, typed=False)
    checked, notices = check_frame(table.frame, trained.encoder.schema, lenient=lenient)
    for notice in (*table.notices, *notices):
        say(notice)
    return Read(checked, np.zeros(checked.height) if truth else None, noun="rows", given=table.frame)
