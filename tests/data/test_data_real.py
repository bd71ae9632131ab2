"""Public tables as they were published, where they are at hand: what is found in them, and that every row is encoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from danlu.data import (
    TableEncoder,
    TargetEncoder,
    drop_missing_target,
    infer_schema,
    infer_task,
    read_table,
    split_rows,
)

FOLDER = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the public tables are not at hand")

TABLES = [
    ("adult/train.csv", "c15", "binary", 32_561, {"categorical": 8, "numeric": 6}),
    ("titanic/train.csv", "Survived", "binary", 891, {"text": 1, "categorical": 4, "numeric": 5, "identifier": 1}),
    ("telco-churn/telco-churn.csv", "Churn", "binary", 7043, {"numeric": 4, "identifier": 1, "categorical": 15}),
    ("california-housing/housing.csv", "median_house_value", "regression", 20_640, {"numeric": 8, "categorical": 1}),
    ("wine-quality/winequality-white.csv", "c12", "multiclass", 4898, {"numeric": 11}),
    ("compas/compas-scores-two-years.csv", "two_year_recid", "binary", 7214, None),
    ("waimai/waimai_10k.csv", "label", "binary", 11_987, {"text": 1}),
    ("etth1/ETTh1.csv", "OT", "regression", 17_420, {"datetime": 1, "numeric": 6}),
    ("sst2/train.txt", "c1", "binary", 6920, {"text": 1}),
]


@pytest.mark.parametrize(("name", "target", "task", "rows", "kinds"), TABLES, ids=lambda v: str(v).split("/")[0])
def test_a_public_table(name: str, target: str, task: str, rows: int, kinds: dict[str, int] | None) -> None:
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"{path} is not at hand")
    table = read_table(path)
    assert table.rows == rows
    frame, _ = drop_missing_target(table.frame, target)
    found = infer_task(frame[target])
    assert found.task == task
    schema = infer_schema(frame, target=target)
    if kinds is not None:
        counts: dict[str, int] = {}
        for column in schema.columns:
            if column.name != target:
                counts[column.kind] = counts.get(column.kind, 0) + 1
        assert counts == kinds
    split = split_rows(frame, target=target, task=task)
    encoder = TableEncoder.fit(frame[split.train], schema)
    encoded = encoder.transform(frame[split.test])
    for array in encoded.values():
        assert len(array) == len(split.test)
        assert np.isfinite(array).all()
    y = TargetEncoder.fit(frame[target], task=task).transform(frame[target][split.test])
    assert len(y) == len(split.test)


def test_adults_two_files_spell_the_classes_in_two_ways() -> None:
    if not (FOLDER / "adult").is_dir():
        pytest.skip("adult is not at hand")
    train, test = (read_table(FOLDER / "adult" / f"{part}.csv").frame for part in ("train", "test"))
    assert test.height == 16_281
    target = TargetEncoder.fit(train["c15"])
    labels, _ = target.normalise(test["c15"])
    assert np.bincount(target.transform(labels)).tolist() == [12_435, 3846]
