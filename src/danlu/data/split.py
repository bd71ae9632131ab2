"""Splits of a table's rows into training, validation and test."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeGuard

import numpy as np
import polars as pl

from danlu.data.twins import deal_units, draw_units, unit_strata
from danlu.errors import ConfigError, DataError, unknown_name
from danlu.prose import percent

__all__ = ["METHODS", "Split", "copies_of", "folds", "in_time", "leakage", "split_rows"]

METHODS = ("stratified", "random", "time", "group", "column")
_PARTS = {
    "train": "train", "training": "train", "fit": "train",
    "validation": "validation", "val": "validation", "valid": "validation", "dev": "validation", "eval": "validation",
    "test": "test", "testing": "test", "holdout": "test",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of three parts that share no row.

    Attributes:
        train, validation, test: int32 row numbers; sorted, except that a split by time keeps the order of time.
        description: how it was made, in a sentence.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    description: str = ""

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The number of rows of each part."""
        return len(self.train), len(self.validation), len(self.test)

    def __str__(self) -> str:
        train, validation, test = self.sizes
        return f"{train:,} training, {validation:,} validation and {test:,} test rows, {self.description}"


def split_rows(
    source: pl.DataFrame | int,
    *,
    method: str = "stratified",
    column: str | None = None,
    target: str | None = None,
    task: str | None = None,
    validation: float = 0.15,
    test: float = 0.2,
    seed: int = 0,
    together: np.ndarray | None = None,
) -> Split:
    """Split rows into training, validation and test.

    Args:
        source: the frame, or a number of rows (``"random"`` only).
        method: ``"stratified"`` keeps the share of each class (of each tenth of a regression target) in every part, as
            far as the rows go round; ``"random"``; ``"time"`` sorts by ``column`` and takes the last rows as the test, those before
            them as validation; ``"group"`` keeps rows of one value of ``column`` together; ``"column"`` reads the part from ``column``
            (train, validation or val or valid or dev, test).
        column: the column that ``"time"``, ``"group"`` and ``"column"`` look at.
        target: the column to predict, for ``"stratified"``.
        task: the task; ``"regression"`` stratifies by tenths. None looks at the target's type.
        validation: share of *all* rows, in [0, 1).
        test: share of all rows, in [0, 1); 0 when there is a separate test file.
        seed: the same seed gives the same split.
        together: a group number for each row, as of :func:`~danlu.data.twins.equal_rows`: ``"stratified"`` and ``"random"`` keep
            the rows of a group in one part, so that parts may miss their shares by some rows.

    Raises:
        DataError: too few rows or groups for a split, or a column that does not say the part.
        ConfigError: an unknown method, shares that leave nothing to train on, a column not named.

    Example:
        >>> split = split_rows(100, method="random")
        >>> split.sizes
        (65, 15, 20)
    """
    if method not in METHODS:
        raise unknown_name("split method", method, METHODS)
    for name, share in (("validation", validation), ("test", test)):
        if not 0 <= share < 1:
            raise ConfigError(f"{name} is {share!r}; expected a share of the rows, >= 0 and < 1")
    if validation + test >= 1:
        raise ConfigError(f"validation {validation} and test {test} leave no rows to train on; expected a sum below 1")
    rows = source if isinstance(source, int) else source.height
    if rows < 1:
        raise DataError("there are no rows to split")
    if isinstance(source, int):
        if method not in ("random", "stratified"):
            raise ConfigError(f"splitting by {method} needs a frame, not a number of rows")
        return _by_strata(np.zeros(rows, np.int64), validation, test, seed, "drawn at random", together)
    if method in ("time", "group", "column"):
        if column is None:
            raise ConfigError(
                f"splitting by {method} needs a column", hint="name it: split.column=NAME (in Python column=...)"
            )
        if column not in source.columns:
            raise unknown_name("column", column, source.columns, error=DataError)
        if method == "column":
            return _by_column(source[column])
        if method == "time":
            return _by_time(source[column], validation, test)
        return _by_group(source[column], validation, test, seed)
    if method == "random" or target is None:
        return _by_strata(np.zeros(rows, np.int64), validation, test, seed, "drawn at random", together)
    if target not in source.columns:
        raise unknown_name("column", target, source.columns, error=DataError)
    strata = _strata(source[target], task)
    what = f"tenths of {target}" if _is_quantity(source[target], task) else f"classes of {target}"
    how = f"drawn at random with the {what} shared out evenly"
    return _by_strata(strata, validation, test, seed, how, together)


def folds(
    source: pl.DataFrame | int,
    k: int,
    *,
    target: str | None = None,
    task: str | None = None,
    group: str | None = None,
    seed: int = 0,
    together: np.ndarray | None = None,
) -> list[Split]:
    """``k`` splits for cross-validation; each row is in the ``test`` part of one of them, ``validation`` is empty.

    Args:
        source: the frame, or a number of rows.
        k: how many folds, at least 2 and at most the number of rows (of groups).
        target, task: stratify by this column, as :func:`split_rows` does.
        group: keep rows of one value of this column together.
        seed: the same seed gives the same folds.
        together: as of :func:`split_rows`.
    """
    rows = source if isinstance(source, int) else source.height
    if not isinstance(k, int) or k < 2 or k > rows:
        raise ConfigError(f"k is {k!r}; expected a whole number from 2 to the number of rows, {rows}")
    if not isinstance(source, int):
        for name in (target, group):
            if name is not None and name not in source.columns:
                raise unknown_name("column", name, source.columns, error=DataError)
    if group is not None and not isinstance(source, int):
        from sklearn.model_selection import GroupKFold

        groups = _codes(source[group])
        if len(np.unique(groups)) < k:
            raise DataError(f"column {group!r} has {len(np.unique(groups))} groups; {k} folds need at least {k}")
        parts = [test for _, test in GroupKFold(k, shuffle=True, random_state=seed).split(groups, groups=groups)]
        how = f"groups of {group} kept together"
    else:
        strata = np.zeros(rows, np.int64)
        if target is not None and not isinstance(source, int):
            strata = _strata(source[target], task)
        if _are_groups(together):
            fold = deal_units(np.bincount(together), unit_strata(together, strata), k, seed)[together]
            parts = [np.flatnonzero(fold == i) for i in range(k)]
        else:
            order = _spread(strata, seed)
            parts = [np.sort(order[i::k]) for i in range(k)]
        how = "rows drawn at random" + (f", {target} shared out evenly" if target else "")
    splits = []
    for i, part in enumerate(parts):
        rest = np.setdiff1d(np.arange(rows), part)
        splits.append(Split(_rows(rest), _rows([]), _rows(part), f"fold {i + 1} of {k}, {how}"))
    return splits


def leakage(frame: pl.DataFrame, split: Split, *, ignore: tuple[str, ...] = ()) -> tuple[str, ...]:
    """A notice when rows of the test or validation part are exact copies of training rows.

    Args:
        frame: the rows.
        split: the split of them.
        ignore: columns left out of the comparison (row identifiers).
    """
    columns = [name for name in frame.columns if name not in ignore]
    train = frame[split.train].select(columns)
    notices: list[str] = []
    for name, rows in (("validation", split.validation), ("test", split.test)):
        notices += copies_of(train, frame[rows].select(columns), name)
    return tuple(notices)


def copies_of(train: pl.DataFrame, rows: pl.DataFrame, name: str) -> tuple[str, ...]:
    """A notice when some of ``rows``, a part called ``name``, are exact copies of training rows."""
    both = pl.concat([train, rows.cast(train.schema, strict=False)])
    hashes = both.hash_rows(seed=0).to_numpy()
    copies = int(np.isin(hashes[train.height :], hashes[: train.height]).sum())
    if not copies:
        return ()
    return (
        f"{copies} of {rows.height} {name} rows are copies of training rows ({percent(copies / rows.height, 1)}); "
        "its score may be too good",
    )


def _are_groups(together: np.ndarray | None) -> TypeGuard[np.ndarray]:
    return together is not None and int(together.max(initial=-1)) + 1 < len(together)


def _rows(rows: Any) -> np.ndarray:
    return np.asarray(rows, dtype=np.int32)


def _codes(values: pl.Series) -> np.ndarray:
    """Each value as the number of its first row; missing is a value of its own."""
    return values.rank("dense").fill_null(0).to_numpy().astype(np.int64)


def _is_quantity(values: pl.Series, task: str | None) -> bool:
    if task is not None:
        return task == "regression"
    return values.dtype.is_float() or (values.dtype.is_numeric() and values.n_unique() > 20)


def _strata(values: pl.Series, task: str | None) -> np.ndarray:
    if not _is_quantity(values, task):
        return _codes(values)
    rank = values.rank("ordinal").fill_null(0).to_numpy().astype(np.float64)
    bins = int(np.clip(len(values) // 10, 1, 10))
    return np.minimum((rank - 1) * bins // max(len(values), 1), bins - 1).astype(np.int64)


def _spread(strata: np.ndarray, seed: int) -> np.ndarray:
    """Row numbers in random order within each stratum, strata one after the other: every k-th row is a fair sample."""
    shuffled = np.random.default_rng(seed).permutation(len(strata))
    return shuffled[np.argsort(strata[shuffled], kind="stable")]


def _by_strata(
    strata: np.ndarray, validation: float, test: float, seed: int, how: str, together: np.ndarray | None = None
) -> Split:
    rows = len(strata)
    n_test, n_validation = _sizes(rows, validation, test)
    if _are_groups(together):
        sizes, own = np.bincount(together), unit_strata(together, strata)
        # A group that is larger than half of a part would be most of it: it is trained on.
        limit = max(min(n for n in (n_test, n_validation, rows) if n) / 2, 1)
        pool = np.flatnonzero(sizes <= limit)
        if sizes[pool].sum() < n_test + n_validation:
            pool = np.arange(len(sizes))
        test_units, rest_units = draw_units(sizes, own, pool, n_test, seed)
        validation_units, _ = draw_units(sizes, own, rest_units, n_validation, seed + 1)
        part = np.zeros(len(sizes), np.int8)
        part[validation_units], part[test_units] = 1, 2
        train, drawn, tested = (_rows(np.flatnonzero(part[together] == code)) for code in range(3))
        if not len(train) or bool(n_validation) > len(drawn) or bool(n_test) > len(tested):
            raise DataError(
                f"{len(sizes)} different rows are too few for training, validation and test parts",
                hint="give more rows, or leave out a part: split.test=0 (in Python test=0 or validation=0)",
            )
        return Split(train, drawn, tested, f"{how}, equal rows kept in one part")
    test_rows, rest = _draw(strata, np.arange(rows), n_test, seed)
    validation_rows, train = _draw(strata, rest, n_validation, seed + 1)
    return Split(_rows(train), _rows(validation_rows), _rows(test_rows), how)


def _draw(strata: np.ndarray, rows: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` of ``rows`` with the strata's shares, and the others; a stratum of one row stays with the others."""
    if count == 0:
        return rows[:0], rows
    _, inverse, counts = np.unique(strata[rows], return_inverse=True, return_counts=True)
    alone = counts[inverse] < 2
    pool = rows[~alone] if int((~alone).sum()) > count else rows
    # A systematic sample: rows at equal distances of a random order that keeps strata together.
    place = (np.arange(count) + np.random.default_rng(seed).random()) * len(pool) / count
    taken = np.sort(pool[_spread(strata[pool], seed)][place.astype(np.int64)])
    return taken, np.setdiff1d(rows, taken)


def _sizes(rows: int, validation: float, test: float) -> tuple[int, int]:
    """Rows of the test and the validation part: at least one where a share is asked for, and one left to train on."""
    wanted = [max(1, round(rows * share)) if share > 0 else 0 for share in (test, validation)]
    if sum(wanted) >= rows:
        raise DataError(
            f"{rows} rows are too few for training, validation and test parts",
            hint="give more rows, or leave out a part: split.test=0 (in Python test=0 or validation=0)",
        )
    return wanted[0], wanted[1]


def in_time(values: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """The row numbers in the order of time, int32, and the moments in that order.

    Raises:
        DataError: a row without a moment, or moments that are texts.
    """
    if values.null_count():
        raise DataError(
            f"column {values.name!r} has {values.null_count()} missing values; a split by time needs one in each row"
        )
    if values.dtype == pl.String:
        raise DataError(
            f"column {values.name!r} holds texts; a split by time needs date-times or numbers",
            hint=f'say what it is with data.kinds={{"{values.name}": "datetime"}}, or write it as 2024-12-31',
        )
    moments = values.to_physical().to_numpy()
    order = np.argsort(moments, kind="stable")
    return _rows(order), moments[order]


def _by_time(values: pl.Series, validation: float, test: float) -> Split:
    order, _ = in_time(values)
    n_test, n_validation = _sizes(len(order), validation, test)
    first, second = len(order) - n_test - n_validation, len(order) - n_test
    how = f"in the order of {values.name}: the last rows are the test"
    return Split(order[:first], order[first:second], order[second:], how)


def _by_group(values: pl.Series, validation: float, test: float, seed: int) -> Split:
    from sklearn.model_selection import GroupShuffleSplit

    groups = _codes(values)
    count = len(np.unique(groups))
    needed = 1 + (validation > 0) + (test > 0)
    if count < needed:
        raise DataError(f"column {values.name!r} has {count} groups; a split needs at least {needed}")

    def draw(rows: np.ndarray, share: float, spare: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        if share == 0:
            return rows[:0], rows
        there = len(np.unique(groups[rows]))
        size = int(np.clip(round(there * share), 1, there - spare))
        splitter = GroupShuffleSplit(1, test_size=size, random_state=seed % 2**32)
        rest, taken = next(splitter.split(rows, groups=groups[rows]))
        return rows[taken], rows[rest]

    test_rows, rest = draw(np.arange(len(groups)), test, needed - 1, seed)
    validation_rows, train = draw(rest, validation / (1 - test), 1, seed + 1)
    how = f"no group of {values.name} in two parts"
    return Split(_rows(train), _rows(validation_rows), _rows(test_rows), how)


def part_names(values: pl.Series, *, first_row: int = 0) -> pl.Series:
    """A column's names of the parts as ``"train"``, ``"validation"`` and ``"test"``.

    Args:
        values: train, validation (val, valid, dev) or test in each row, in any case.
        first_row: the number of the first row, for the message.

    Raises:
        DataError: a value that is none of these.
    """
    names = values.cast(pl.String).str.strip_chars().str.to_lowercase()
    parts = names.replace_strict(_PARTS, default=None, return_dtype=pl.String)
    bad = parts.is_null()
    if bad.any():
        row = int(bad.arg_true()[0])
        raise DataError(
            f"column {values.name!r} holds {values[row]!r} in row {first_row + row + 1}; expected train, validation or test",
            hint="validation may also be written val, valid or dev",
        )
    return parts


def _by_column(values: pl.Series) -> Split:
    parts = part_names(values)
    rows = {part: parts.eq(part).arg_true().to_numpy() for part in ("train", "validation", "test")}
    if not len(rows["train"]):
        raise DataError(f"column {values.name!r} marks no row as train")
    return Split(_rows(rows["train"]), _rows(rows["validation"]), _rows(rows["test"]), f"as column {values.name} says")
