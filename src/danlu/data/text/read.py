"""Reads labelled texts from a column of a table, one folder per class, or lines that begin with their label."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.data.folders import files_in, folders_in
from danlu.data.sniff import decode
from danlu.errors import DataError, unknown_name

__all__ = ["TextSet", "is_text_source", "read_texts"]

_PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_PARTS |= dict.fromkeys(("val", "valid", "validation", "dev"), "validation")
_LOOK = 2000  # lines that are looked at
_LABELS = 20  # the most labels that lines may begin with
_LABEL = 40  # and characters of one


@dataclasses.dataclass(frozen=True, eq=False)
class TextSet:
    """Texts with their labels.

    Attributes:
        texts: the texts; None where there is none.
        labels: the label of each, or None.
        parts: ``"train"``, ``"validation"`` or ``"test"`` of each where the source says so, or None.
        notices: what the user should know.
        numbers: of the rows in the source, from 0, where some were left out; else None.
    """

    texts: list[str | None]
    labels: pl.Series | None
    parts: np.ndarray | None = None
    notices: tuple[str, ...] = ()
    numbers: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def empty(self) -> np.ndarray:
        """The numbers of the rows without a text, blank ones included."""
        return np.flatnonzero([text is None or not text.strip() for text in self.texts])

    def rows(self, numbers: np.ndarray) -> TextSet:
        """Some of the rows, by their numbers ``(n,)``."""
        labels = None if self.labels is None else self.labels.gather(numbers)
        parts, own = (None if each is None else each[numbers] for each in (self.parts, self.numbers))
        texts = [self.texts[row] for row in numbers]
        return dataclasses.replace(self, texts=texts, labels=labels, parts=parts, numbers=own)


def is_text_source(source: Any) -> bool:
    """Whether a path is labelled texts: a file of lines that begin with their label, a folder of such files, or a folder
    with a folder of ``.txt`` files for each class.

    Example:
        >>> is_text_source("table.csv")
        False
    """
    if not isinstance(source, str | Path):
        return False
    path = Path(source)
    try:
        if path.is_dir():
            return bool(_part_files(path)) or len([1 for files in _classes(path).values() if files]) > 1
        return path.suffix.lower() == ".txt" and path.is_file() and _begin_with_labels(_first_lines(path))
    except OSError:
        return False


def read_texts(
    source: Any, *, text: str | None = None, target: str | None = None, delimiter: str | None = None
) -> TextSet:
    """Read labelled texts.

    Args:
        source: one of

            - a table (CSV, JSON lines, Parquet, a frame, …) with the texts in the column ``text``,
            - a ``.txt`` file of lines ``label text`` (at least 20), or a folder with such files ``train``, ``dev``, ``test``,
            - another ``.txt`` file, where no column is named: each line is a text without a label,
            - a folder with a folder of ``.txt`` files for each class (or with folders ``train`` and ``test`` of these),
            - texts in a list.
        text: the column of the texts; None is the only column but the target, or ``"text"``.
        target: the column of the labels of a table; texts have no labels where it is absent.
        delimiter: of a table, where it is not found by itself.

    Raises:
        DataError: nothing that can be read, no such column, or one that does not hold texts.
    """
    if isinstance(source, Sequence) and not isinstance(source, str):
        return TextSet(_checked(source, "the list"), None)
    path = Path(source) if isinstance(source, str | Path) else None
    if path is not None and not path.exists():
        raise DataError(f"there is no file or folder {path}")
    if path is not None and path.is_dir():
        files = _part_files(path)
        return _joined([_lines(file, part) for part, file in files.items()]) if files else _folder(path)
    if path is not None and path.suffix.lower() == ".txt" and _begin_with_labels(_first_lines(path)):
        return _lines(path, None)
    if path is not None and path.suffix.lower() == ".txt" and text is None:
        content, notices = _read(path)
        return TextSet([line for line in content.split("\n") if line.strip()], None, None, notices)
    return _column(source, text, target, delimiter)


def _column(source: Any, text: str | None, target: str | None, delimiter: str | None) -> TextSet:
    from danlu.data.read import read_table

    table = read_table(source, delimiter=delimiter)
    others = [name for name in table.names if name != target]
    name = text or ("text" if "text" in others else others[0] if len(others) == 1 else None)
    if name is None:
        shown = ", ".join(table.names[:30])
        raise DataError(f"no column of texts was named; there are: {shown}", hint="name it: --text COLUMN")
    if name not in table.names:
        raise unknown_name("text column", name, table.names, error=DataError)
    column = table.frame[name]
    if column.dtype != pl.String and column.null_count() < len(column):
        raise DataError(f"the column {name!r} holds {column.dtype} values, not texts; expected texts")
    labels = table.frame[target] if target in table.names else None
    return TextSet(column.to_list(), labels, None, table.notices)


def _checked(texts: Iterable[Any], where: str) -> list[str | None]:
    found = list(texts)
    for row, text in enumerate(found):
        if text is not None and not isinstance(text, str):
            raise DataError(f"{where} holds {text!r:.40} ({type(text).__name__}) in row {row + 1}; expected texts")
    return found


def _read(file: Path) -> tuple[str, tuple[str, ...]]:
    try:
        encoded, notice = decode(file.read_bytes(), source=str(file))
    except OSError as error:
        raise DataError(f"the text {file} cannot be read: {error.strerror or error}") from error
    return encoded.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n"), (notice,) if notice else ()


def _first_lines(file: Path) -> list[str]:
    with file.open("rb") as opened:
        lines = [opened.readline(10_000) for _ in range(_LOOK)]
    return [line.decode("utf-8", "replace") for line in lines if line.strip()]


def _begin_with_labels(lines: Sequence[str]) -> bool:
    """Whether the first words are few and come again and again, and (almost) each line goes on after it."""
    cut = [line.split(None, 1) for line in lines]
    bare = sum(len(words) < 2 for words in cut)
    if len(cut) < 20 or bare > len(cut) // 20 or any(len(words[0]) > _LABEL for words in cut):
        return False
    return 2 <= len({words[0] for words in cut}) <= min(_LABELS, len(cut) // 10)


def _lines(file: Path, part: str | None) -> TextSet:
    text, notices = _read(file)
    cut = [line.split(None, 1) for line in text.split("\n") if line.strip()]
    bare = sum(len(words) < 2 for words in cut)
    if bare:
        notices = (*notices, f"{bare} lines of {file} are a label alone and are left out")
    kept = [words for words in cut if len(words) == 2]
    labels = pl.Series("label", [words[0].removeprefix("__label__") for words in kept], dtype=pl.String)
    return TextSet([words[1] for words in kept], labels, None if part is None else np.full(len(kept), part), notices)


def _part_files(folder: Path) -> dict[str, Path]:
    """The files of labelled lines by part, where the folder has a ``train.txt`` and its lines are such."""
    files = {_PARTS[file.stem.lower()]: file for file in _text_files(folder) if file.stem.lower() in _PARTS}
    return files if "train" in files and _begin_with_labels(_first_lines(files["train"])) else {}


def _classes(folder: Path) -> dict[str, list[Path]]:
    """The ``.txt`` files of each class; of folders ``train`` and ``test``, those in them."""
    groups = [child for child in folders_in(folder) if any(file.suffix == ".txt" for file in files_in(child))]
    if groups and all(group.name.lower() in _PARTS for group in groups):
        return {name: files for group in groups for name, files in _classes(group).items()}
    return {group.name: _text_files(group) for group in groups}


def _text_files(folder: Path) -> list[Path]:
    return [file for file in files_in(folder, depth=0) if file.suffix == ".txt"]


def _folder(root: Path) -> TextSet:
    holding = [child for child in folders_in(root) if any(file.suffix == ".txt" for file in files_in(child))]
    groups = [child for child in holding if child.name.lower() in _PARTS]
    if groups and len(groups) == len(holding):
        return _joined([_files(_classes(group), _PARTS[group.name.lower()]) for group in groups])
    return _files(_classes(root), None)


def _files(classes: dict[str, list[Path]], part: str | None) -> TextSet:
    texts: list[str | None] = []
    labels: list[str] = []
    notices: list[str] = []
    for label, files in classes.items():
        for file in files:
            text, said = _read(file)
            texts.append(text)
            labels.append(label)
            notices += said
    if not texts:
        raise DataError(
            "the folder holds no .txt files in folders",
            hint="put the texts of each class into a folder of its own, named like the class",
        )
    more = (f"{len(notices) - 3} more files in other encodings",) if len(notices) > 3 else ()
    parts = None if part is None else np.full(len(texts), part)
    return TextSet(texts, pl.Series("label", labels), parts, (*notices[:3], *more))


def _joined(sets: Sequence[TextSet]) -> TextSet:
    """Parts in one set."""
    return TextSet(
        [text for one in sets for text in one.texts],
        pl.concat([one.labels for one in sets if one.labels is not None]),
        np.concatenate([one.parts for one in sets if one.parts is not None]),
        tuple(notice for one in sets for notice in one.notices),
    )
