"""What a user hands to an estimator, as a polars frame."""

from __future__ import annotations

import datetime
import numbers
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from sklearn.utils.validation import validate_data

from danlu.data import DEFAULT_MISSING, read_table
from danlu.data.infer import blank_to_null, canonical
from danlu.data.read import _from_native, _from_numpy
from danlu.errors import DataError

__all__ = ["features"]

_VALUES = (str, numbers.Number, datetime.date, np.generic, type(None))


def features(estimator: Any, X: Any, *, names: tuple[str, ...] | None = None) -> tuple[pl.DataFrame, bool]:
    """``X`` as a frame, checked by scikit-learn's rules.

    Frames keep the types they have; texts of a pandas frame or of an array that are numbers, truth values or dates are
    read as such when training (``names`` is None). In prediction texts stay texts, which the encoder reads by the kind that
    the column had in training: what one row means does not depend on the rows beside it.

    Args:
        estimator: sets ``n_features_in_`` and ``feature_names_in_`` when training, is compared with them after that.
        X: a frame that narwhals knows, or something that NumPy makes a 2-D array of.
        names: the names of the columns in training; None when this is the training.

    Returns:
        the frame; and whether ``X`` was an array of numbers, of which each column is numeric.

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
        typed = isinstance(X, pl.DataFrame) or nw.dependencies.is_pyarrow_table(X)
        frame = read_table(X).frame if training or typed else _plain(_from_native(X))
        return _finite(_named(frame, names)), False
    X = validate_data(estimator, X, reset=training, dtype=None, ensure_all_finite="allow-nan", ensure_min_samples=least)
    numbers_only = _as_numbers(X)
    if numbers_only is not None:
        frame = pl.DataFrame({f"c{j + 1}": column for j, column in enumerate(numbers_only.T)})
        return _named(frame, names), True
    X = X.astype(object)
    return _finite(_named(read_table(X).frame if training else _plain(_from_numpy(X)), names)), False


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    columns = canonical(frame, source="X").get_columns()
    return pl.DataFrame([blank_to_null(c, DEFAULT_MISSING) if c.dtype == pl.String else c for c in columns])


def _named(frame: pl.DataFrame, names: tuple[str, ...] | None) -> pl.DataFrame:
    """The columns under their names in training: scikit-learn has checked that they are the same, or warned."""
    return frame if names is None else frame.rename(dict(zip(frame.columns, names, strict=True)))


def _finite(frame: pl.DataFrame) -> pl.DataFrame:
    for column in frame.get_columns():
        if column.dtype == pl.Float64 and column.is_infinite().any():
            raise DataError(
                f"Input X contains infinity: column {column.name!r}", hint="repair the values, or make them NaN"
            )
    return frame


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
