"""Parts of a report that commands add after the training, such as ``danlu explain``: each has a place in the page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from danlu.errors import ArtifactError
from danlu.files import write_atomic
from danlu.report.html import rendered

__all__ = ["PLACES", "add_part"]

PLACES: Mapping[str, tuple[str, str]] = {
    "receipts": ("what it costs and what it is worth beside the model that it was made of", "danlu compress RUN"),
    "explained": (
        "how its answers depend on the columns, and what each added in many single rows",
        "danlu explain RUN",
    ),
    "stress": ("how much worse it gets with noise, missing values and shifts", "danlu stress RUN FILE"),
    "attack": ("which rows of the training its answers give away", "danlu attack RUN"),
    "canaries": (
        "which rows with wrong answers a training like its own gives away",
        "danlu attack RUN --canaries 500",
    ),
}
"""The parts, in their order: what each shows, and the command that adds it."""


def add_part(path: Path, name: str, sections: Sequence[tuple[str, str]]) -> bool:
    """Put titles and HTML into their place in a report, instead of what was there before.

    Args:
        path: of the report.
        name: of the part, one of :data:`PLACES`.
        sections: titles, and HTML that is taken as it is.

    Returns:
        Whether the page has such a place; one of an older version has none.

    Raises:
        ArtifactError: the page cannot be read or written.
    """
    begin, end = f"<!-- part {name} -->", f"<!-- end of part {name} -->"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"cannot read the report {path}: {error}") from error
    place = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not place.search(text):
        return False
    part = rendered("part.html.jinja", sections=sections, hints={})
    write_atomic(path, place.sub(lambda _: f"{begin}\n{part}\n{end}", text, count=1))
    return True
