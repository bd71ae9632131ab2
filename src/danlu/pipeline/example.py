"""A first table to train on, from a data set that an installed dependency ships."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from danlu.engine.cache import enable_compilation_cache
from danlu.files import write_atomic

__all__ = ["example_table"]


def example_table() -> str:
    """The path of the Wisconsin breast-cancer table as CSV (569 rows, 30 measurements, target ``diagnosis``).

    It is written from scikit-learn's copy into danlu's cache folder, or beside the runs where there is no such folder.
    """
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    frame = pl.DataFrame(dict(zip([str(name) for name in data.feature_names], data.data.T, strict=True)))
    names = [str(data.target_names[number]) for number in data.target]
    folder = (enable_compilation_cache() or Path("runs") / "xla").parent / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "breast_cancer.csv"
    write_atomic(path, frame.with_columns(pl.Series("diagnosis", names)).write_csv())
    return str(path)
