"""Losses, weights, penalties and metrics: formulas in float64, PyTorch and optax, shapes, extremes, invariances."""

from __future__ import annotations

import json
import math
from typing import Any

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.blueprint import from_json, to_json
from danlu.errors import ConfigError, DataError
from danlu.nn.backprop.loss_rules import loss_backward
from danlu.nn.losses import (
    LOSSES,
    METRICS,
    MSE,
    BinaryCrossEntropy,
    BinaryFocal,
    CategoricalCrossEntropy,
    CategoricalFocal,
    Huber,
    absolute_error,
    class_weights,
    example_weights,
    get_loss,
    get_metric,
    l1,
    l2,
    reduce,
    squared_error,
)

pytestmark = pytest.mark.usefixtures("no_silent_broadcasting")
ROWS, CLASSES = 6, 4
RNG = np.random.default_rng(5)
Z = RNG.normal(0, 3, ROWS)
VALUES = RNG.normal(0, 2, ROWS)
BITS = np.array([0, 1, 1, 0, 1, 0])
LOGITS = RNG.normal(0, 3, (ROWS, CLASSES))
LABELS = np.array([0, 3, 1, 2, 2, 0])
SOFT = RNG.dirichlet(np.ones(CLASSES), ROWS)


def _sigma(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def _cross_entropy(z: np.ndarray, p: np.ndarray) -> np.ndarray:
    return -(p * np.log(_softmax(z))).sum(-1)


def _softmax(z: np.ndarray) -> np.ndarray:
    return np.exp(z) / np.exp(z).sum(-1, keepdims=True)


def _binary_focal(z: np.ndarray, y: np.ndarray, gamma: float, alpha: float) -> np.ndarray:
    p = np.where(y == 1, _sigma(z), 1 - _sigma(z))
    return -np.where(y == 1, alpha, 1 - alpha) * (1 - p) ** gamma * np.log(p)


# name -> (loss, outputs, targets, the formula's values)
ERROR = Z - VALUES
ONE_HOT = np.eye(CLASSES)[LABELS]
P_LABEL = _softmax(LOGITS)[np.arange(ROWS), LABELS]
CASES: dict[str, tuple[Any, np.ndarray, np.ndarray, np.ndarray]] = {
    "mse": (get_loss("mse"), Z, VALUES, ERROR**2),
    "half mse": (get_loss("half_mse"), Z, VALUES, ERROR**2 / 2),
    "mae": (get_loss("mae"), Z, VALUES, np.abs(ERROR)),
    "huber": (
        Huber(0.7), Z, VALUES, np.where(np.abs(ERROR) <= 0.7, ERROR**2 / 2, 0.7 * (np.abs(ERROR) - 0.35)),
    ),
    "binary": (BinaryCrossEntropy(), Z, BITS, -np.log(np.where(BITS == 1, _sigma(Z), 1 - _sigma(Z)))),
    "binary smooth": (
        BinaryCrossEntropy(0.2), Z, BITS,
        -(0.8 * BITS + 0.1) * np.log(_sigma(Z)) - (0.9 - 0.8 * BITS) * np.log(1 - _sigma(Z)),
    ),
    "binary focal": (BinaryFocal(1.5, 0.3), Z, BITS, _binary_focal(Z, BITS, 1.5, 0.3)),
    "binary focal half": (BinaryFocal(0.5), Z, BITS, 2 * _binary_focal(Z, BITS, 0.5, 0.5)),
    "categorical": (CategoricalCrossEntropy(), LOGITS, LABELS, -np.log(P_LABEL)),
    "categorical soft": (CategoricalCrossEntropy(), LOGITS, SOFT, _cross_entropy(LOGITS, SOFT)),
    "categorical smooth": (
        CategoricalCrossEntropy(0.1), LOGITS, LABELS, _cross_entropy(LOGITS, 0.9 * ONE_HOT + 0.025),
    ),
    "categorical focal": (CategoricalFocal(2), LOGITS, LABELS, -((1 - P_LABEL) ** 2) * np.log(P_LABEL)),
    "categorical focal half": (CategoricalFocal(0.5), LOGITS, LABELS, -((1 - P_LABEL) ** 0.5) * np.log(P_LABEL)),
}  # fmt: skip
cases = pytest.mark.parametrize("name", sorted(CASES))


@cases
def test_value_and_derivative_are_the_formulas(name: str) -> None:
    loss, outputs, targets, expected = CASES[name]
    with jax.enable_x64(True):
        z, y = jnp.asarray(outputs), jnp.asarray(targets)
        np.testing.assert_allclose(loss(z, y), expected, rtol=1e-9)
        shares = jnp.asarray(RNG.uniform(size=ROWS))
        total = jax.jit(lambda z: jnp.sum(shares * loss(z, y)))
        automatic = jax.jit(jax.grad(lambda z: jnp.sum(shares * loss(z, y))))(z)
        by_hand = jax.jit(lambda z: loss_backward(loss, z, y, shares)[0])(z)
        np.testing.assert_allclose(by_hand, automatic, rtol=1e-9, atol=1e-14)
        step = 1e-6
        direction = jnp.cos(jnp.arange(z.size, dtype=float)).reshape(z.shape)
        ends = [float(total(z + s * direction)) for s in (step, -step)]
        np.testing.assert_allclose(jnp.sum(automatic * direction), (ends[0] - ends[1]) / (2 * step), rtol=1e-7)


@cases
def test_extreme_logits_are_finite(name: str) -> None:
    loss, _, targets, _ = CASES[name]

    @jax.jit
    def both(z: jax.Array) -> Any:
        values, back = jax.vjp(lambda z: loss(z, jnp.asarray(targets)), z)
        return values, back(jnp.ones_like(values))[0], loss_backward(loss, z, jnp.asarray(targets), jnp.ones(ROWS))[0]

    for scale in (1e4, -1e4, 0.0):
        z = jnp.asarray(scale * np.sign(CASES[name][1]), jnp.float32)
        values, back = jax.vjp(lambda z: loss(z, jnp.asarray(targets)), z)
        assert values.dtype == jnp.float32
        assert jnp.isfinite(values).all()
        assert jnp.isfinite(back(jnp.ones_like(values))[0]).all()
        assert jnp.isfinite(loss_backward(loss, z, jnp.asarray(targets), jnp.ones(ROWS))[0]).all()


def test_sure_and_right_costs_what_it_should() -> None:
    # log(1 + e^-30) is 9e-14: softplus(z) - z would have lost it.
    tiny = BinaryCrossEntropy()(jnp.asarray([30.0, -30.0]), jnp.asarray([1, 0]))
    np.testing.assert_allclose(tiny, np.exp(-30.0), rtol=1e-5)
    assert BinaryCrossEntropy()(jnp.asarray([1e4]), jnp.asarray([0])).tolist() == [1e4]


@cases
def test_members_are_averaged_and_shapes_agree(name: str) -> None:
    blueprint, outputs, targets, _ = CASES[name]
    loss = jax.jit(blueprint)
    z, y = jnp.asarray(outputs, jnp.float32), jnp.asarray(targets)
    base = loss(z, y)
    other = loss(-z, y)
    if z.ndim == 1:
        same = [loss(z[:, None], y), loss(z, y[:, None]), loss(z[:, None], y[:, None])]
        members = jnp.stack([z, -z], axis=1)[..., None]
        sequence = loss(jnp.stack([z, z], 1), jnp.stack([y, y], 1)), loss(members, jnp.stack([y, y], 1))
        np.testing.assert_allclose(sequence[0], base, rtol=1e-6)
        np.testing.assert_allclose(sequence[1], (base + other) / 2, rtol=1e-6)
    else:
        same = [loss(z[:, None], y), loss(z[:, None], y[:, None])]
        members = jnp.stack([z, -z], axis=1)
    for values in same:
        assert values.shape == (ROWS,)
        np.testing.assert_allclose(values, base, rtol=1e-6)
    np.testing.assert_allclose(loss(members, y), (base + other) / 2, rtol=1e-6)
    np.testing.assert_allclose(loss(members[:, None], y), (base + other) / 2, rtol=1e-6)
    slope = jax.grad(lambda m: jnp.sum(loss(m, y)))(members)
    by_hand = jax.jit(lambda m: loss_backward(blueprint, m, y, jnp.ones(ROWS))[0])(members)
    np.testing.assert_allclose(by_hand, slope, rtol=1e-4, atol=1e-6)


def test_several_targets_are_averaged() -> None:
    outputs, targets = jnp.asarray([[1.0, 2.0], [3.0, 5.0]]), jnp.asarray([[0.0, 0.0], [3.0, 1.0]])
    np.testing.assert_allclose(MSE()(outputs, targets), [2.5, 8])
    members = jnp.stack([outputs, targets, targets], axis=1)
    np.testing.assert_allclose(MSE()(members, targets), [2.5 / 3, 8 / 3], rtol=1e-6)


@cases
def test_blueprint(name: str) -> None:
    loss, outputs, targets, _ = CASES[name]
    assert from_json(json.loads(json.dumps(to_json(loss)))) == loss
    assert hash(loss) == hash(loss.replace())
    z, y = jnp.asarray(outputs, jnp.float32), jnp.asarray(targets)
    np.testing.assert_allclose(jax.jit(loss)(z, y), loss(z, y), rtol=1e-5)
    for half in (jnp.bfloat16, jnp.float16):  # a square would leave the range of 16 bits, and a sum stop growing
        assert loss(z.astype(half), y).dtype == jnp.float32


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "message"),
    [
        (MSE(), (6, 2), (6,), r"outputs of shape \(6, 2\) and targets of shape \(6,\); expected .*\n.*Dense\(1\)"),
        (MSE(), (6,), (5,), "same batch size"),
        (MSE(), (6, 3), (6, 2), "expected outputs of shape"),
        (MSE(), (), (), "same batch size"),
        (BinaryCrossEntropy(), (6, 4), (6,), r"Dense\(1\)"),
        (CategoricalCrossEntropy(), (6,), (6,), "binary_cross_entropy"),
        (CategoricalCrossEntropy(), (6, 1), (6,), "binary_cross_entropy"),
        (CategoricalCrossEntropy(), (6, 4), (5,), "same batch size"),
        (CategoricalCrossEntropy(), (6, 4), (6, 3), "class numbers of shape"),
        (CategoricalFocal(), (6, 4), (6,), "type float32; expected whole numbers"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(loss: Any, outputs: Any, targets: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        loss(jnp.zeros(outputs), jnp.zeros(targets))
    with pytest.raises(DataError, match="floating-point"):
        loss(jnp.zeros(outputs, jnp.int32), jnp.zeros(targets))


def test_a_label_that_does_not_exist_is_nan_and_does_not_count_when_masked() -> None:
    z, y = jnp.asarray(LOGITS, jnp.float32), jnp.asarray([0, 4, 1, -1, 2, 0])
    loss = CategoricalCrossEntropy()
    assert jnp.isnan(loss(z, y)).tolist() == [False, True, False, True, False, False]
    mask = jnp.asarray([1.0, 0, 1, 0, 1, 1])
    total, slope = jax.value_and_grad(lambda z: reduce(loss(z, y), mask))(z)
    assert jnp.isfinite(total)
    assert jnp.isfinite(slope).all()
    by_hand, _ = loss_backward(loss, z, y, mask / 4)
    np.testing.assert_allclose(by_hand, slope, atol=1e-6)


def test_agrees_with_pytorch_and_optax(golden: Any) -> None:
    optax = pytest.importorskip("optax")

    def theirs(torch: Any) -> dict[str, Any]:
        functional = torch.nn.functional
        z, v, b, logits, labels, soft = (torch.tensor(a) for a in (Z, VALUES, BITS, LOGITS, LABELS, SOFT))
        return {
            "huber": functional.huber_loss(z, v, reduction="none", delta=0.7),
            "mae": functional.l1_loss(z, v, reduction="none"),
            "binary": functional.binary_cross_entropy_with_logits(z, b.double(), reduction="none"),
            "smoothed": functional.cross_entropy(logits, labels, reduction="none", label_smoothing=0.1),
            "soft": functional.cross_entropy(logits, soft, reduction="none"),
        }

    expected = golden("torch", theirs)
    with jax.enable_x64(True):
        jz, jv, jb, jl = (jnp.asarray(a) for a in (Z, VALUES, BITS, LOGITS))
        pairs = [
            (Huber(0.7)(jz, jv), expected["huber"]),
            (get_loss("mae")(jz, jv), expected["mae"]),
            (BinaryCrossEntropy()(jz, jb), expected["binary"]),
            (CategoricalCrossEntropy(0.1)(jl, LABELS), expected["smoothed"]),
            (CategoricalCrossEntropy()(jl, jnp.asarray(SOFT)), expected["soft"]),
            (BinaryFocal(1.5, 0.3)(jz, jb), optax.sigmoid_focal_loss(jz, jb, alpha=0.3, gamma=1.5)),
            (get_loss("half_mse")(jz, jv), optax.l2_loss(jz, jv)),
        ]  # fmt: skip
        for ours, other in pairs:
            np.testing.assert_allclose(ours, np.asarray(other), rtol=1e-10)


def test_focal_without_gamma_is_cross_entropy() -> None:
    z, y = jnp.asarray(LOGITS, jnp.float32), jnp.asarray(LABELS)
    np.testing.assert_allclose(CategoricalFocal(0)(z, y), CategoricalCrossEntropy()(z, y), rtol=1e-6)
    np.testing.assert_allclose(BinaryFocal(0)(z[:, 0], BITS), BinaryCrossEntropy()(z[:, 0], BITS), rtol=1e-6)


def test_slopes_where_the_loss_has_a_kink_are_zero() -> None:
    assert jax.grad(lambda z: get_loss("mae")(z, jnp.zeros(1))[0])(jnp.zeros(1)).tolist() == [0.0]
    assert jax.grad(lambda w: l1(w))(jnp.zeros((1, 1))).tolist() == [[0.0]]


numbers = hnp.arrays(np.float32, 5, elements=st.floats(-100, 100, width=32))
positive = hnp.arrays(np.float32, 5, elements=st.floats(0.125, 8, width=32))


@hypothesis.settings(deadline=None, max_examples=40)
@hypothesis.given(numbers, positive, st.permutations(range(5)), st.sampled_from([0.25, 2.0, 64.0]))
def test_reduce_invariances(values: np.ndarray, weights: np.ndarray, order: list[int], scale: float) -> None:
    v, w = jnp.asarray(values), jnp.asarray(weights)
    mean = float(reduce(v, w))
    tolerance = {"rel": 1e-4, "abs": 1e-3}
    assert mean == pytest.approx(np.average(values.astype(float), weights=weights.astype(float)), **tolerance)
    assert float(reduce(v[jnp.asarray(order)], w[jnp.asarray(order)])) == pytest.approx(mean, **tolerance)
    assert float(reduce(v, w * scale)) == pytest.approx(mean, **tolerance)
    padded = reduce(jnp.append(v, jnp.nan), jnp.append(w, 0.0))
    assert float(padded) == pytest.approx(mean, **tolerance)
    doubled = reduce(jnp.append(v, v[0]), jnp.append(w.at[0].divide(2), w[0] / 2))
    assert float(doubled) == pytest.approx(mean, **tolerance)


def test_reduce_edges() -> None:
    assert float(reduce(jnp.asarray([1.0, 2.0]))) == 1.5
    assert float(reduce(jnp.asarray([1.0, 2.0]), jnp.zeros(2))) == 0
    assert jax.grad(lambda v: reduce(v, jnp.zeros(2)))(jnp.ones(2)).tolist() == [0, 0]
    with pytest.raises(DataError, match=r"\(2,\) values and \(3,\) weights"):
        reduce(jnp.ones(2), jnp.ones(3))


def test_class_weights_are_scikit_learns() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0, 0, 0, 2, 2, 1])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(class_weights(labels, 3), expected, rtol=1e-6)
    np.testing.assert_allclose(class_weights([0, 0, 1], 3), [0.75, 1.5, 0])
    np.testing.assert_allclose(class_weights(labels, 3, mode={1: 5.0}), [1, 5, 1])
    np.testing.assert_allclose(class_weights(labels, 3, mode=None), 1)
    per_example = example_weights(labels, class_weights(labels, 3))
    totals = np.bincount(labels, per_example)
    np.testing.assert_allclose(totals, totals[0], rtol=1e-6)
    assert per_example.mean() == pytest.approx(1)


def test_example_weights_multiply() -> None:
    weights = example_weights([0, 1, 1], [1, 3], sample_weight=[2, 1, 0.5], mask=[True, False, True])
    np.testing.assert_allclose(weights, [2, 0, 1.5])
    assert weights.dtype == np.float32
    np.testing.assert_allclose(example_weights(rows=3), 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: class_weights([0.5], 2), "type float64"),
        (lambda: class_weights([0, 2], 2), "labels 0–2; expected 0–1"),
        (lambda: class_weights([0], 2, mode="balance"), "did you mean 'balanced'"),
        (lambda: class_weights([0], 2, mode={3: 1.0}), "class number from 0 to 1"),
        (lambda: class_weights([0], 2, mode={0: -1.0}), "at least 0"),
        (lambda: example_weights(), "received no arrays"),
        (lambda: example_weights([0, 1], mask=[True]), "same number of examples"),
        (lambda: example_weights([0, 1], [1.0]), "outside 0 to 0"),
        (lambda: example_weights(None, [1.0], rows=2), "without labels"),
        (lambda: example_weights(sample_weight=[1.0, -1.0]), "negative"),
        (lambda: l2({}, over="kernels"), "expected one of: all, weights"),
    ],
)
def test_weight_errors(make: Any, message: str) -> None:
    with pytest.raises((DataError, ConfigError), match=message):
        make()


def test_penalties() -> None:
    params = ({"kernel": jnp.asarray([[1.0, -2.0]]), "bias": jnp.asarray([3.0])}, {"ids": jnp.asarray([[7]])})
    assert (float(l1(params)), float(l2(params))) == (3, 5)
    assert (float(l1(params, over="all")), float(l2(params, over="all"))) == (6, 14)
    assert jax.grad(lambda k: l2({"kernel": k}))(jnp.asarray([[3.0]])).tolist() == [[6.0]]
    assert float(l2({})) == 0


def test_accuracy() -> None:
    accuracy = jax.jit(get_metric("accuracy"))
    logits = jnp.asarray([[2.0, 1.0, 0.0], [0.0, 0.0, 5.0], [1.0, 3.0, 0.0]])
    assert accuracy(logits, jnp.asarray([0, 1, 1])).tolist() == [1, 0, 1]
    assert accuracy(logits, jnp.eye(3)[jnp.asarray([0, 1, 1])]).tolist() == [1, 0, 1]
    for z in (jnp.asarray([2.0, -1.0, -3.0]), jnp.asarray([[2.0], [-1.0], [-3.0]])):
        assert accuracy(z, jnp.asarray([1, 1, 0])).tolist() == [1, 0, 1]
    # One member is very sure of class 1, two lean to class 0: probabilities average to class 0, logits to class 1.
    members = jnp.asarray([[[0.0, 30.0], [2.0, 0.0], [2.0, 0.0]]])
    assert accuracy(members, jnp.asarray([0])).tolist() == [1]
    assert accuracy(jnp.asarray([[[30.0], [-2.0], [-2.0]]]), jnp.asarray([0])).tolist() == [1]
    assert accuracy(logits, jnp.asarray([-1, 3, 1])).tolist() == [0, 0, 1]
    sequence = jnp.asarray([[[2.0, 0.0], [2.0, 0.0]]])
    assert accuracy(sequence, jnp.asarray([[0, 1]])).tolist() == [0.5]


def test_log_loss_is_that_of_the_mean_probability() -> None:
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(50, 4, 3)), rng.integers(0, 3, 50)
    mean = np.exp(z - np.logaddexp.reduce(z, axis=-1, keepdims=True)).mean(1)
    log_loss = jax.jit(get_metric("log_loss"))
    expected = -np.log(mean[np.arange(50), y])
    np.testing.assert_allclose(log_loss(z, y), expected, rtol=1e-5)
    np.testing.assert_allclose(log_loss(z[:, :1], y), get_loss("categorical_cross_entropy")(z[:, 0], y), rtol=1e-5)
    two = 1 / (1 + np.exp(-z[..., :1]))
    labels = (y > 0).astype(np.float32)
    p = two.mean((1, 2))
    np.testing.assert_allclose(log_loss(z[..., :1], labels), -np.log(np.where(labels > 0, p, 1 - p)), rtol=1e-5)
    assert np.all(log_loss(z, y) <= get_loss("categorical_cross_entropy")(z, y) + 1e-6)
    sure = log_loss(jnp.asarray([[[3e4, 0.0], [0.0, 3e4]]]), jnp.asarray([0]))
    assert sure.tolist() == pytest.approx([math.log(2)])
    assert np.isnan(log_loss(z[:1], np.array([7])))[0]
    soft = rng.dirichlet(np.ones(3), 50).astype(np.float32)
    np.testing.assert_allclose(log_loss(z, soft), -(soft * np.log(mean)).sum(1), rtol=1e-4)


def test_errors_judge_the_mean_of_the_members() -> None:
    members = jnp.asarray([[[1.0], [3.0]], [[0.0], [1.0]]])
    assert squared_error(members, jnp.asarray([2.0, 2.0])).tolist() == [0, 2.25]
    assert absolute_error(members, jnp.asarray([2.0, 2.0])).tolist() == [0, 1.5]
    two = jnp.asarray([[1.0, 5.0]])
    assert absolute_error(two, jnp.asarray([[0.0, 2.0]])).tolist() == [2]
    assert absolute_error(two[:, None], jnp.asarray([[0.0, 2.0]])).tolist() == [2]
    assert squared_error(jnp.asarray([[4.0]]), jnp.asarray([1.0])).tolist() == [9]


def test_names() -> None:
    assert {name: type(get_loss(name)) for name in LOSSES} == dict(LOSSES)
    assert get_metric("accuracy") is METRICS["accuracy"]
    with pytest.raises(ConfigError, match="did you mean 'huber'"):
        get_loss("hubert")
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        get_metric("acuracy")
