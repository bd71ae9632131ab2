"""The class that is looked for: the second one, whichever the user says."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from danlu.data import TargetEncoder
from danlu.errors import ConfigError
from danlu.evaluate.costs import cost_matrix
from danlu.pipeline.config import config_from
from danlu.pipeline.tables import Tables
from danlu.trained import Labels


def test_the_class_that_is_looked_for_is_the_second():
    labels = pl.Series("risk", ["bad", "good", "good", "bad"])
    found = TargetEncoder.fit(labels).looking_for("bad")
    assert found.classes == ("good", "bad")
    assert found.transform(labels).tolist() == [1, 0, 0, 1]
    assert found.inverse(np.array([1, 0])).tolist() == ["bad", "good"]
    assert TargetEncoder.from_json(found.to_json()) == found
    assert cost_matrix({"fn": 5}, found.classes)[1, 0] == 5
    assert Labels(found).counted == "bad"
    numbers = TargetEncoder.fit(pl.Series("y", [0, 1, 1])).looking_for("0")
    assert numbers.labels.tolist() == [1, 0]
    assert found.looking_for(None) is found


def test_a_table_is_encoded_by_it(tmp_path):
    frame = pl.DataFrame({"x": np.arange(60.0), "risk": ["bad", "good", "good"] * 20})
    own = {"target": "risk", "positive": "bad", "audit": False}
    prepared = Tables().prepare(config_from({"data": own}), frame)
    assert prepared.target.classes == ("good", "bad")
    parts = [part[1] for part in (prepared.train, prepared.validation, prepared.test) if part is not None]
    assert np.concatenate(parts).sum() == 20


@pytest.mark.parametrize(
    ("labels", "positive", "match"),
    [
        (["a", "b", "c"], "a", "two classes; this target is of more classes"),
        ([1.5, 2.25, 3.125], "1.5", "two classes; this target is a quantity"),
        (["bad", "good"], "bat", "unknown class 'bat'"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(labels, positive, match):
    target = TargetEncoder.fit(pl.Series("y", labels * 20))
    with pytest.raises(ConfigError, match=match):
        target.looking_for(positive)
