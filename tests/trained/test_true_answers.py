"""The true answers beside a test's predictions."""

import numpy as np
import polars as pl

from danlu.data import TargetEncoder
from danlu.trained.labels import Labels


def test_true_quantities_are_those_of_the_file():
    rows = pl.DataFrame({"price": [352100.0, 81300.1, 500001.7]})
    target = TargetEncoder.fit(rows["price"])
    truth = target.transform(rows["price"])
    assert target.inverse(truth).tolist() != rows["price"].to_list(), "standardised in float32 they are rounded"
    found = Labels(target).beside(np.zeros(3), truth, rows)
    assert found["true price"].to_list() == rows["price"].to_list()


def test_the_class_that_f1_is_of_is_the_second():
    assert Labels(TargetEncoder.fit(pl.Series("kind", ["ok", "fraud"] * 3))).counted == "ok"
    assert Labels(TargetEncoder.fit(pl.Series("kind", ["a", "b", "c"] * 3))).counted == ""
