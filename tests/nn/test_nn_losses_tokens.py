"""The loss of tokens: NumPy and PyTorch, padding that cannot matter, the hand-written slope, refusals."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.blueprint import from_json, to_json
from danlu.errors import DataError
from danlu.nn.backprop.loss_rules import loss_backward
from danlu.nn.losses import CategoricalCrossEntropy, TokenCrossEntropy, counted_tokens, get_loss, reduce

pytestmark = pytest.mark.usefixtures("no_silent_broadcasting")
RNG = np.random.default_rng(3)
LOGITS = RNG.normal(0, 3, (4, 5, 6))
TARGETS = np.array([[0, 5, 1, -1, -1], [2, 2, 0, 1, 3], [-1, -1, -1, -1, 4], [-1] * 5])
COUNTED = TARGETS >= 0
LOSS = TokenCrossEntropy()


def by_hand(logits: np.ndarray) -> np.ndarray:
    """The loss of each position in float64, one at a time."""
    found = np.zeros(TARGETS.shape)
    for place in zip(*np.nonzero(COUNTED), strict=True):
        found[place] = np.log(np.exp(logits[place]).sum()) - logits[place][TARGETS[place]]
    return found


def test_value_is_the_mean_over_counted_positions() -> None:
    expected = by_hand(LOGITS).sum(1) / np.maximum(COUNTED.sum(1), 1)
    with jax.enable_x64(True):
        np.testing.assert_allclose(LOSS(LOGITS, TARGETS), expected, rtol=1e-12)
    narrow = jax.jit(LOSS)(jnp.asarray(LOGITS, jnp.float32), TARGETS)
    np.testing.assert_allclose(narrow, expected, rtol=1e-5)
    assert narrow[3] == 0


def test_weighted_by_its_tokens_the_mean_is_over_all_tokens() -> None:
    weights = jnp.asarray(counted_tokens(TARGETS))
    assert weights.tolist() == [3, 5, 1, 0]
    found = reduce(LOSS(jnp.asarray(LOGITS, jnp.float32), TARGETS), weights)
    assert float(found) == pytest.approx(by_hand(LOGITS).sum() / COUNTED.sum(), rel=1e-5)


def test_the_slope_by_formula_is_the_automatic_one() -> None:
    with jax.enable_x64(True):
        z, shares = jnp.asarray(LOGITS), jnp.asarray(RNG.uniform(size=4))
        automatic = jax.grad(lambda z: jnp.sum(shares * LOSS(z, TARGETS)))(z)
        slope, how = loss_backward(LOSS, z, jnp.asarray(TARGETS), shares)
        assert how == "formula"
        np.testing.assert_allclose(slope, automatic, rtol=1e-9, atol=1e-15)
        assert not np.asarray(automatic)[~COUNTED].any()
        step = 1e-6
        direction = np.cos(np.arange(z.size)).reshape(z.shape)
        ends = [
            (by_hand(LOGITS + s * direction).sum(1) / np.maximum(COUNTED.sum(1), 1)) @ shares for s in (step, -step)
        ]
        np.testing.assert_allclose((automatic * direction).sum(), (ends[0] - ends[1]) / (2 * step), rtol=1e-6)


def test_smoothed_labels_are_those_of_the_cross_entropy() -> None:
    full, smooth = np.abs(TARGETS), {"label_smoothing": 0.2}
    loss = TokenCrossEntropy(**smooth)
    with jax.enable_x64(True):
        z, shares = jnp.asarray(LOGITS), jnp.asarray(RNG.uniform(size=4))
        np.testing.assert_allclose(loss(z, full), CategoricalCrossEntropy(**smooth)(z, full), rtol=1e-10)
        automatic = jax.grad(lambda z: jnp.sum(shares * loss(z, TARGETS)))(z)
        slope, _ = loss_backward(loss, z, jnp.asarray(TARGETS), shares)
        np.testing.assert_allclose(slope, automatic, rtol=1e-9, atol=1e-15)


def test_padding_cannot_matter() -> None:
    z = np.where(COUNTED[..., None], LOGITS, 1e30).astype(np.float32)
    np.testing.assert_allclose(LOSS(z, TARGETS), LOSS(LOGITS.astype(np.float32), TARGETS), rtol=1e-6)
    slope = jax.grad(lambda z: jnp.sum(LOSS(z, TARGETS)))(jnp.asarray(z))
    assert jnp.isfinite(slope).all()


def test_without_padding_it_is_the_cross_entropy_of_the_tokens() -> None:
    full, z = np.abs(TARGETS), jnp.asarray(LOGITS, jnp.float32)
    np.testing.assert_allclose(LOSS(z, full), CategoricalCrossEntropy()(z, full), rtol=1e-5)


def test_agrees_with_pytorch(golden: Any) -> None:
    def theirs(torch: Any) -> dict[str, Any]:
        z, y = torch.tensor(LOGITS[:3]), torch.tensor(TARGETS[:3])
        return {"mean": torch.nn.functional.cross_entropy(z.reshape(-1, 6), y.reshape(-1), ignore_index=-1)}

    whole = golden("torch", theirs)["mean"]
    with jax.enable_x64(True):
        values, weights = LOSS(LOGITS[:3], TARGETS[:3]), jnp.asarray(counted_tokens(TARGETS[:3]))
        np.testing.assert_allclose(reduce(values, weights), whole, rtol=1e-10)


def test_a_class_that_does_not_exist_is_nan() -> None:
    wrong = np.where(TARGETS == 5, 6, TARGETS)
    assert np.isnan(LOSS(jnp.asarray(LOGITS, jnp.float32), wrong)).tolist() == [True, False, False, False]
    assert np.isnan(LOSS(jnp.asarray(LOGITS, jnp.float32), np.where(TARGETS == 5, -2, TARGETS)))[0]


def test_blueprint() -> None:
    assert from_json(json.loads(json.dumps(to_json(LOSS)))) == LOSS == get_loss("token_cross_entropy")
    assert LOSS(jnp.asarray(LOGITS, jnp.bfloat16), TARGETS).dtype == jnp.float32


@pytest.mark.parametrize(
    ("outputs", "targets", "message"),
    [
        (jnp.zeros((2, 3)), np.zeros((2, 3), int), r"\(2, 3\) and targets of shape \(2, 3\); expected \(batch, time"),
        (jnp.zeros((2, 3, 4)), np.zeros(2, int), "one class per sequence"),
        (jnp.zeros((2, 3, 4), int), np.zeros((2, 3), int), "type int32; expected floating"),
        (jnp.zeros((2, 3, 4)), np.zeros((2, 3)), "targets of type float32; expected whole"),
    ],
)
def test_what_does_not_fit_is_refused(outputs: Any, targets: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        LOSS(outputs, targets)
