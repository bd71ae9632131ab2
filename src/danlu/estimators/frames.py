"""An estimator's input as a polars frame."""

from __future__ import annotations

import dataclasses
import datetime
import numbers
from collections.abc import Mapping
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from sklearn.utils.validation import validate_data

from danlu.data import Table, read_table
from danlu.errors import DataError

__all__ = ["features"]

_VALUES = (str, numbers.Number, datetime.date, np.generic, type(None))


def features(
    estimator: Any, X: Any, *, names: tuple[str, ...] | None = None, kinds: Mapping[str, str] | None = None
) -> tuple[Table, bool]:
    """``X`` as a table, checked by scikit-learn's rules.

    Frames keep the types they have; texts of a pandas frame or of an array that are numbers, truth values or dates are
    read as such when training (``names`` is None). In prediction texts stay texts, which the encoder reads as those of the
    training rows were written: what one row means does not depend on the rows beside it.

    Args:
        estimator: sets ``n_features_in_`` and ``feature_names_in_`` when training, is compared with them after that.
        X: a frame that narwhals knows, or something that NumPy makes a 2-D array of.
        names: the names of the columns in training; None when this is the training.
        kinds: what single columns are, as the user says.

    Returns:
        the table; and whether ``X`` was an array of numbers, of which each column is numeric.

    Raises:
        ValueError: infinite values, the wrong columns, too few rows.
        TypeError: a sparse matrix, values that are neither numbers nor texts.
    """
    training = names is None
    least = 2 if training else 1
    if nw.dependencies.is_into_dataframe(X):
        validate_data(estimator, X, skip_check_array=True, reset=training)
        if len(X) < least:
            raise DataError(f"Found a frame with {len(X)} sample(s) while a minimum of {least} is required.")
        return _finite(_named(read_table(X, typed=training, kinds=kinds), names)), False
    if np.ma.is_masked(X):
        X = X.astype(np.float64).filled(np.nan) if X.dtype.kind in "biuf" else X.astype(object).filled(None)
    X = validate_data(estimator, X, reset=training, dtype=None, ensure_all_finite="allow-nan", ensure_min_samples=least)
    numbers_only = _as_numbers(X)
    if numbers_only is not None:
        frame = pl.DataFrame({f"c{j + 1}": column for j, column in enumerate(numbers_only.T)})
        return _named(Table(frame), names), True
    return _finite(_named(read_table(X.astype(object), typed=training, kinds=kinds), names)), False


def _named(table: Table, names: tuple[str, ...] | None) -> Table:
    """The columns under their names in training: scikit-learn has checked that they are the same, or warned."""
    if names is None:
        return table
    return dataclasses.replace(table, frame=table.frame.rename(dict(zip(table.names, names, strict=True))))


def _finite(table: Table) -> Table:
    for column in table.frame.get_columns():
        if column.dtype == pl.Float64 and column.is_infinite().any():
            raise DataError(
                f"Input X contains infinity: column {column.name!r}", hint="repair the values, or make them NaN"
            )
    return table


def _as_numbers(X: np.ndarray) -> np.ndarray | None:
    """``X`` as float64, None where it holds texts or dates."""
    if X.dtype.kind in "biuf":
        return X.astype(np.float64)
    if X.dtype.kind in "SUM":
        return None
    odd = next((value for value in X.flat if not isinstance(value, _VALUES)), None)
    if odd is not None:
        raise TypeError(f"X holds a {type(odd).__name__}; an argument must be a string or a real number")
    try:
        values = X.astype(np.float64)  # None becomes NaN
    except (TypeError, ValueError):
        return None
    if np.isinf(values).any():
        raise DataError("Input X contains infinity", hint="repair the values, or make them NaN")
    return values
