"""Sentences with their translations: reading, checking, splitting and tokenizing them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.data.sniff import decode
from danlu.data.text.buckets import PairTokens
from danlu.data.text.corpus import drawn_parts
from danlu.data.text.tokenizer import Tokenizer
from danlu.errors import DataError

__all__ = ["Pairs", "read_pairs", "read_sources", "sentence_tokens", "split_pairs", "tokens_of_pairs"]

_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_ALIKE = 0.5  # the share of pairs with two equal sides from which on the columns are doubted


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Sentences and their translations, white space inside a sentence replaced by single spaces.

    Attributes:
        sources, targets: pair ``i`` is ``sources[i]`` and ``targets[i]``; none is empty.
        notices: what the user should know.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.sources)

    def rows(self, numbers: Iterable[int]) -> Pairs:
        """Some of the pairs."""
        chosen = list(numbers)
        return Pairs(tuple(self.sources[i] for i in chosen), tuple(self.targets[i] for i in chosen))


def read_pairs(source: Any, languages: Sequence[str], *, delimiter: str | None = None) -> Pairs:
    """Read sentences with their translations.

    Args:
        source: one of

            - a table (CSV, TSV, JSON lines, Parquet, a frame, a dict of columns) with a column for each language; of a ``.tsv``
              file the first line names the columns, and quotation marks are part of the text;
            - the common beginning of two text files: ``folder/train`` stands for ``folder/train.en`` and ``folder/train.de``,
              whose lines belong together.
        languages: what the columns, or the files' endings, are called: first what is translated, then into what.
        delimiter: of a table, where it is not found by itself.

    A pair with an empty side is left out, and a notice says how many.

    Raises:
        DataError: no such source, files of unequal length, columns that are not there or hold no texts, or no pairs.

    Example:
        >>> found = read_pairs({"en": ["good day", ""], "de": ["guten Tag", "leer"]}, ("en", "de"))
        >>> found.sources, found.targets, found.notices
        (('good day',), ('guten Tag',), ('1 of 2 pairs has an empty side and is left out',))
    """
    first, second = languages
    if first == second:
        raise DataError(f"both languages are {first!r}; expected two columns or endings, such as en and de")
    sides, name, notices = _sides(source, (first, second), delimiter)
    cleaned = [[" ".join((text or "").split()) for text in side] for side in sides]
    kept = [i for i, pair in enumerate(zip(*cleaned, strict=True)) if all(pair)]
    if not kept:
        raise DataError(f"{name} holds no pair with text on both sides")
    lost = len(cleaned[0]) - len(kept)
    if lost:
        notices += (
            f"{lost:,} of {len(cleaned[0]):,} pairs {'has' if lost == 1 else 'have'} an empty side and "
            f"{'is' if lost == 1 else 'are'} left out",
        )
    pairs = dataclasses.replace(Pairs(tuple(cleaned[0]), tuple(cleaned[1])).rows(kept), notices=notices)
    alike = sum(a == b for a, b in zip(pairs.sources, pairs.targets, strict=True))
    if alike > _ALIKE * len(pairs):
        said = f"in {alike:,} of {len(pairs):,} pairs both sides are the same; are {first!r} and {second!r} the right ones?"
        pairs = dataclasses.replace(pairs, notices=(*notices, said))
    return pairs


def read_sources(source: Any, language: str, *, delimiter: str | None = None) -> list[str]:
    """Sentences to translate, in their order; an empty line is an empty sentence.

    Args:
        source: a text file with a sentence a line, a table with the column ``language`` (or with one column alone), or sentences
            in a list.
        language: see :func:`read_pairs`.

    Raises:
        DataError: nothing that can be read, or no such column.
    """
    if isinstance(source, Sequence) and not isinstance(source, str):
        return [" ".join((text or "").split()) for text in _checked(source, "the list")]
    path = Path(source) if isinstance(source, str | Path) else None
    table = path is None or path.suffix.lower() in (
        ".csv",
        ".tsv",
        ".tab",
        ".json",
        ".jsonl",
        ".ndjson",
        ".parquet",
        ".pq",
    )
    if path is not None and not table:
        if not path.exists() and Path(f"{path}.{language}").is_file():
            path = Path(f"{path}.{language}")
        lines, _ = _lines(path)
        return [" ".join(line.split()) for line in lines]
    columns, name, _ = _columns(source, delimiter)
    if language not in columns and len(columns) != 1:
        raise DataError(f"{name} has no column {language!r}; there are: {', '.join(list(columns)[:30])}")
    column = columns.get(language, next(iter(columns.values())))
    return [" ".join((text or "").split()) for text in _checked(column, name)]


def split_pairs(pairs: Pairs, *, validation: float, test: float, seed: int = 0) -> tuple[dict[str, Pairs], str]:
    """Divide pairs at random into ``"train"``, ``"validation"`` and ``"test"``; those with the same source stay together, so that
    no sentence of the test was learnt from.

    Args:
        validation, test: shares of the different source sentences; each may be 0.
        seed: decides which.

    Returns:
        The parts, and how it was done, in a sentence.

    Raises:
        DataError: too few sentences for the shares.
    """
    drawn = drawn_parts(pairs.sources, validation=validation, test=test, seed=seed, noun="different sentences")
    parts = {name: pairs.rows(rows) for name, rows in drawn.items()}
    return parts, "pairs at random, those of one source sentence together"


def sentence_tokens(tokenizer: Tokenizer, text: str) -> np.ndarray:
    """A sentence's tokens, int32. Byte pairs get a space in front: so a word is the same token at the beginning as elsewhere."""
    return np.asarray(tokenizer.encode_one(f" {text}" if text and tokenizer.kind == "bpe" else text), np.int32)


def tokens_of_pairs(pairs: Pairs, source: Tokenizer, target: Tokenizer) -> PairTokens:
    """The tokens of both sides."""
    sides = ((source, pairs.sources), (target, pairs.targets))
    return PairTokens(*(tuple(sentence_tokens(tokenizer, text) for text in texts) for tokenizer, texts in sides))


def _sides(
    source: Any, languages: tuple[str, str], delimiter: str | None
) -> tuple[list[Sequence[str | None]], str, tuple[str, ...]]:
    """The two sides, what the source is called, and notices."""
    path = Path(source) if isinstance(source, str | Path) else None
    if path is not None and not path.is_file():
        return _files(path, languages)
    if path is not None and path.suffix[1:] in languages:
        raise DataError(
            f"{path} is only one of the two files; expected both",
            hint=f"give their common beginning: {path.with_suffix('')}",
        )
    columns, name, notices = _columns(source, delimiter)
    absent = [language for language in languages if language not in columns]
    if absent:
        shown = ", ".join(repr(column) for column in list(columns)[:30])
        few = len(columns) == 2 and "if that is the first pair, write a line with the names above it; else "
        raise DataError(
            f"{name} has no column {absent[0]!r}; there are: {shown}"
            if len(absent) == 1
            else f"{name} has no column {absent[0]!r} and no column {absent[1]!r}; there are: {shown}",
            hint=f"{few or ''}name the columns as in the file: --translate FROM:TO",
        )
    return [_checked(columns[language], f"the column {language!r} of {name}") for language in languages], name, notices


def _files(stem: Path, languages: tuple[str, str]) -> tuple[list[Sequence[str | None]], str, tuple[str, ...]]:
    files = [Path(f"{stem}.{language}") for language in languages]
    absent = [file for file in files if not file.is_file()]
    if absent:
        if stem.is_dir():
            held = sorted({file.stem for file in stem.glob(f"*.{languages[0]}")})
            first = min(held, key=lambda name: (not name.startswith("train"), name), default="")
            hint = f"give the files' common beginning, such as {stem / first}" if held else None
            raise DataError(f"{stem} is a folder; expected a table, or the common beginning of two files", hint=hint)
        if len(absent) == 1:
            there = next(file for file in files if file not in absent)
            raise DataError(f"there is {there}, but no {absent[0]}; expected both files")
        raise DataError(f"there is no file {stem}, and there are no files {files[0]} and {files[1]}")
    (one, said), (other, more) = (_lines(file) for file in files)
    if len(one) != len(other):
        raise DataError(
            f"{files[0]} has {len(one):,} lines and {files[1]} has {len(other):,}; expected the same number: each "
            "line is the translation of the other's",
            hint="an empty line on one side must be empty on the other, not left out",
        )
    return [one, other], str(stem), (*said, *more)


def _lines(file: Path) -> tuple[list[str], tuple[str, ...]]:
    try:
        encoded, notice = decode(file.read_bytes(), source=str(file))
    except OSError as error:
        raise DataError(f"the text {file} cannot be read: {error.strerror or error}") from error
    text = encoded.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise DataError(f"{file} holds no text")
    return text.removesuffix("\n").split("\n"), (notice,) if notice else ()


def _columns(source: Any, delimiter: str | None) -> tuple[dict[str, Any], str, tuple[str, ...]]:
    """The columns of a table by name, the table's name, and notices."""
    if isinstance(source, str | Path) and Path(source).suffix.lower() in (".tsv", ".tab") and delimiter is None:
        return _tab_separated(Path(source))
    from danlu.data.read import read_table

    table = read_table(source, delimiter=delimiter, missing=("",))
    return {name: table.frame[name] for name in table.names}, table.source or "the table", table.notices


def _tab_separated(file: Path) -> tuple[dict[str, Any], str, tuple[str, ...]]:
    """Sentences hold quotation marks, often single ones: here they are text, and only a doubled one inside others is a quote."""
    lines, notices = _lines(file)
    rows = [[_unquoted(cell) for cell in line.split("\t")] for line in lines if line]
    names = rows[0]
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(names):
            raise DataError(
                f"line {number} of {file} has {len(row)} cells; expected {len(names)}, as in the first line: {names}"
            )
    columns = zip(*rows[1:], strict=True) if len(rows) > 1 else [()] * len(names)
    return dict(zip(names, map(list, columns), strict=True)), str(file), notices


def _unquoted(cell: str) -> str:
    found = _QUOTED.fullmatch(cell)
    return found[1].replace('""', '"') if found and '""' in found[1] else cell.strip()


def _checked(column: Any, where: str) -> list[str | None]:
    if isinstance(column, pl.Series):
        if column.dtype != pl.String and column.null_count() < len(column):
            raise DataError(f"{where} holds {column.dtype} values, not texts; expected sentences")
        return column.to_list()
    found = list(column)
    for row, text in enumerate(found):
        if text is not None and not isinstance(text, str):
            raise DataError(f"{where} holds {text!r:.40} ({type(text).__name__}) in row {row + 1}; expected texts")
    return found
