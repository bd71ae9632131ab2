"""``.ts`` files, in which the UEA and UCR archive keeps its sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from danlu.errors import DataError

__all__ = ["read_ts"]


def read_ts(path: Path) -> tuple[list[np.ndarray], list[str] | None]:
    """The sequences ``(steps, dimensions)`` of a ``.ts`` file and their labels, None if it declares none.

    After lines that begin with ``@`` comes ``@data``, and then a line a sequence: its dimensions, each of numbers with commas
    between them (``?`` where one is missing), and its label, all with colons between them.

    Raises:
        DataError: lines of another form, or with a time for each number, which is not read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}"
        ) from error
    head = [line.strip().lower().split() for line in lines if line.strip().startswith("@")]
    said = {words[0]: words[1:] for words in head}
    if "@data" not in said:
        raise DataError(f"{path} has no line @data; expected a .ts file of the UEA and UCR archive")
    if said.get("@timestamps", ["false"])[0] == "true":
        raise DataError(
            f"{path} has a time for each number (@timeStamps true), which is not supported; expected numbers only"
        )
    labelled = said.get("@classlabel", said.get("@targetlabel", ["true"]))[:1] != ["false"]
    begin = next(index for index, line in enumerate(lines) if line.strip().lower().startswith("@data"))
    values: list[np.ndarray] = []
    labels: list[str] = []
    for number, line in enumerate(lines[begin + 1 :], begin + 2):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        *parts, label = text.split(":") if labelled else [*text.split(":"), ""]
        try:
            columns = [
                np.array([np.nan if cell.strip() == "?" else float(cell) for cell in part.split(",")]) for part in parts
            ]
        except ValueError:
            raise DataError(
                f"line {number} of {path} has a value that is not a number; expected numbers:…:label"
            ) from None
        if not columns or (values and len(columns) != values[0].shape[1]):
            raise DataError(
                f"line {number} of {path} has {len(columns)} dimensions; expected "
                f"{values[0].shape[1] if values else 'one or more'}"
            )
        table = np.full((max(map(len, columns)), len(columns)), np.nan)
        for index, column in enumerate(columns):
            table[: len(column), index] = column
        values.append(table)
        labels.append(label.strip())
    if not values:
        raise DataError(f"{path} has no sequences after @data")
    return values, labels if labelled else None
