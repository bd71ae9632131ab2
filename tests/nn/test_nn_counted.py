"""Numbers of a network, codes of weights among them: in its summary, its card, and where runs are compared."""

import json
from pathlib import Path

import jax
import numpy as np

import danlu
from danlu import nn
from danlu.nn.counted import numbers

GOLDEN = Path(__file__).parents[1] / "trained" / "golden" / "version-4" / "text" / "model"


def test_codes_count_in_a_summary() -> None:
    plain = nn.Dense(3)
    coded = nn.Quantized(plain, (("kernel", (1,)),))
    assert nn.summary(plain, (8,)).parameters == 8 * 3 + 3
    assert nn.summary(coded, (8,)).parameters == 8 * 3 + 3 + 3  # and a scale for each unit


def test_all_say_the_same_of_a_model_of_codes() -> None:
    from danlu.pipeline import compare

    model = danlu.load(GOLDEN)
    count, _ = numbers(model.params, model.state)
    assert count > sum(np.size(leaf) for leaf in jax.tree.leaves(model.params))
    assert f"{count:,}" in str(danlu.card(model))
    told = json.loads((GOLDEN / "model.json").read_text())
    assert compare._parameters(told) == count
    assert nn.summary(model.network, model.in_shape).parameters == count
