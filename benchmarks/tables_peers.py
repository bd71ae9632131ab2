"""Other libraries at their defaults on the splits of ``table_sets.py``, a JSON line a training.

    python benchmarks/tables_peers.py --splits FOLDER --out peers.jsonl [--models catboost,boosting,linear]
        [--tables titanic,car] [--seeds 0,1,2] [--from-rows 0] [--to-rows 5000] [--minutes 5] [--threads 2]

Run it with an interpreter that has them: scikit-learn (``linear``, ``boosting``), ``catboost``, pytabkit
(``realmlp``, ``tabm``). Rows that the file holds are not measured again; a training that takes longer than
``--minutes`` is given up and noted. Columns of text are categories for all, names and tickets as well.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from table_sets import contest, parser_of

PACKAGES = {
    "linear": "scikit-learn",
    "boosting": "scikit-learn",
    "catboost": "catboost",
    "realmlp": "pytabkit",
    "tabm": "pytabkit",
}


class Split(NamedTuple):
    """One split as data frames of pandas: numbers are floats, text is text."""

    train: Any
    test: Any
    y: np.ndarray
    categories: list[str]
    numbers: list[str]
    task: str
    seed: int
    threads: int


def _load(meta: dict[str, Any], threads: int) -> tuple[Split, np.ndarray]:
    import pandas as pd
    import polars as pl

    train, test = map(pl.read_parquet, meta["files"])
    target = meta["target"]
    train = train.drop(name for name in train.columns if train[name].null_count() == train.height)  # nothing to learn
    test = test.select(train.columns)
    categories = [name for name, kind in train.schema.items() if kind == pl.String and name != target]
    numbers = [name for name in train.columns if name not in categories and name != target]
    x, z = (
        pd.DataFrame(frame.drop(target).with_columns(pl.col(numbers).cast(pl.Float64)).to_dict(as_series=False))
        for frame in (train, test)
    )
    split = Split(x, z, train[target].to_numpy(), categories, numbers, meta["task"], meta["seed"], threads)
    return split, test[target].to_numpy()


def fit(name: str, meta: dict[str, Any], threads: int) -> tuple[np.ndarray, np.ndarray, list[str], str]:
    """The truth, what the model predicts, its classes, and its library's version."""
    split, truth = _load(meta, threads)
    return truth, *MODELS[name](split), f"{PACKAGES[name]} {importlib.metadata.version(PACKAGES[name])}"


def _predictions(model: Any, x: Any, task: str) -> tuple[np.ndarray, list[str]]:
    if task == "regression":
        return np.asarray(model.predict(x), float).reshape(-1), []
    return np.asarray(model.predict_proba(x), float), [str(name) for name in model.classes_]


def _linear(split: Split) -> tuple[np.ndarray, list[str]]:
    """Ridge or logistic regression of standardised numbers, medians for missing ones, and one-hot categories."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()), split.numbers),
        (OneHotEncoder(handle_unknown="ignore"), split.categories),
    )
    head = Ridge() if split.task == "regression" else LogisticRegression(max_iter=2000)
    model = make_pipeline(columns, head).fit(_named(split.train, split), split.y)
    return _predictions(model, _named(split.test, split), split.task)


def _boosting(split: Split) -> tuple[np.ndarray, list[str]]:
    """HistGradientBoosting; it takes at most 255 categories a column, so rare ones of longer columns are one."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    codes = OrdinalEncoder(max_categories=254, handle_unknown="use_encoded_value", unknown_value=np.nan)
    columns = make_column_transformer((codes, split.categories), remainder="passthrough")
    kind = HistGradientBoostingRegressor if split.task == "regression" else HistGradientBoostingClassifier
    head = kind(categorical_features=list(range(len(split.categories))) or None, random_state=split.seed)
    model = make_pipeline(columns, head).fit(split.train, split.y)
    return _predictions(model, split.test, split.task)


def _catboost(split: Split) -> tuple[np.ndarray, list[str]]:
    from catboost import CatBoostClassifier, CatBoostRegressor

    model = (CatBoostRegressor if split.task == "regression" else CatBoostClassifier)(
        cat_features=split.categories, random_seed=split.seed, thread_count=split.threads,
        verbose=False, allow_writing_files=False,
    )  # fmt: skip
    model.fit(_named(split.train, split), split.y)
    return _predictions(model, _named(split.test, split), split.task)


def _pytabkit(name: str) -> Callable[[Split], tuple[np.ndarray, list[str]]]:
    def fit(split: Split) -> tuple[np.ndarray, list[str]]:
        import pytabkit

        kind = "Regressor" if split.task == "regression" else "Classifier"
        model = getattr(pytabkit, f"{name}_{kind}")(
            device="cpu", random_state=split.seed, n_threads=split.threads, verbosity=0
        )
        medians = split.train[split.numbers].median().fillna(0.0)
        x, z = (_named(frame, split).fillna(medians) for frame in (split.train, split.test))
        model.fit(x, split.y, cat_col_names=split.categories)
        return _predictions(model, z, split.task)

    return fit


def _named(frame: Any, split: Split) -> Any:
    """With a category for cells of text that are missing."""
    return frame.fillna(dict.fromkeys(split.categories, "missing"))


MODELS: dict[str, Callable[[Split], tuple[np.ndarray, list[str]]]] = {
    "linear": _linear,
    "boosting": _boosting,
    "catboost": _catboost,
    "realmlp": _pytabkit("RealMLP_TD"),
    "tabm": _pytabkit("TabM_D"),
}


def main() -> None:
    """Measure what the file lacks."""
    parser = parser_of(__doc__)
    parser.add_argument("--models", default="linear,boosting,catboost")
    options = parser.parse_args()
    contest(options, {name: functools.partial(fit, name) for name in options.models.split(",")})


if __name__ == "__main__":
    main()
