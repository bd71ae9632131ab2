"""Distillation: what a student is shown, what it is taught, and that it learns it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu import nn
from danlu.compression import Distil, Workshop
from danlu.compression.munge import made_up
from danlu.compression.taught import FromTeacher, Hint, OfStudent, Taught, mean_answer
from danlu.errors import ConfigError
from danlu.nn.losses import IGNORED, CategoricalCrossEntropy, SoftTargets, get_metric
from danlu.tasks import recipe

RNG = np.random.default_rng(3)
PICTURES = RNG.integers(0, 256, (6, 4, 4, 1)).astype(np.uint8)
NET = nn.Sequential((nn.Rescale(), nn.RandomAffine(rotation=90.0), nn.Flatten(), nn.Dense(3)))


def _begun(net: Any, shape: Any, key: int = 0) -> Any:
    return net.init(jax.random.key(key), shape)[:2]


@pytest.mark.parametrize("copies", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_both_see_one_picture(copies: int) -> None:
    """A student with the teacher's weights is never wrong about what the teacher says, whatever happens to the picture."""
    own = _begun(NET, (4, 4, 1))
    teacher = NET if copies == 1 else nn.Ensemble(NET, copies)
    weights = own if copies == 1 else jax.tree.map(lambda leaf: jnp.stack([leaf] * copies), own)
    taught = Taught(NET, teacher)
    params, state = taught.begun(own, weights, (4, 4, 1), jax.random.key(1))
    changed, _ = taught.apply(params, state, PICTURES, train=True, key=jax.random.key(2))
    plain, _ = taught.apply(params, state, PICTURES, train=False)
    assert np.abs(changed["student"] - plain["student"]).max() > 0.1  # it was turned
    np.testing.assert_allclose(FromTeacher("classes")(changed, None), 0, atol=1e-5)


def test_the_teacher_is_not_taught() -> None:
    taught = Taught(nn.Dense(3), nn.Dense(3), features=0)
    params, state, _ = taught.init(jax.random.key(0), (4,))
    x = jnp.asarray(RNG.normal(size=(5, 4)), jnp.float32)

    def loss(state: Any) -> Any:
        return FromTeacher("classes")(taught.apply(params, state, x, train=True)[0], None).sum()

    slopes = jax.grad(loss, allow_int=True)(state)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(slopes["teacher"]))
    after = taught.apply(params, state, x, train=True)[1]
    jax.tree.map(np.testing.assert_array_equal, after["teacher"], state["teacher"])


def test_answers_that_were_computed_before_stand_beside_the_rows() -> None:
    teacher, x = nn.Dense(3), jnp.asarray(RNG.normal(size=(5, 4)), jnp.float32)
    known, own = _begun(teacher, (4,)), _begun(nn.Dense(3), (4,), 1)
    beside, before = Taught(nn.Dense(3), teacher), Taught(nn.Dense(3))
    at_each, _ = beside.apply(*beside.begun(own, known, (4,), jax.random.key(0)), x)
    given = {"rows": x, "teacher": teacher.apply(*known, x)[0]}
    once, _ = before.apply(*before.begun(own, None, (4,), jax.random.key(0)), given)
    jax.tree.map(np.testing.assert_array_equal, at_each, once)


def test_an_ensemble_answers_with_the_mean_probability() -> None:
    outputs = jnp.asarray(RNG.normal(0, 3, (4, 5, 3)), jnp.float32)
    found = jax.nn.softmax(mean_answer(outputs, "classes"))
    np.testing.assert_allclose(found, jax.nn.softmax(outputs).mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(mean_answer(outputs, "values"), outputs.mean(axis=1), rtol=1e-6)
    assert mean_answer(outputs, "tokens") is outputs  # the middle axis is time


def test_tokens_that_do_not_count_are_left_out() -> None:
    z, t = (jnp.asarray(RNG.normal(size=(2, 3, 4)), jnp.float32) for _ in range(2))
    targets = jnp.array([[1, IGNORED, 2], [IGNORED] * 3])
    each = [SoftTargets(2.0)(z[:1, place], t[:1, place])[0] for place in (0, 2)]
    found = FromTeacher("tokens")({"student": z, "teacher": t}, targets)
    np.testing.assert_allclose(found, [np.mean(each), 0], rtol=1e-5)


def test_a_hint_is_1_for_knowing_nothing_and_0_for_all() -> None:
    hint = jnp.asarray(RNG.normal(0, 9, (500, 6)))
    assert np.isclose(float(Hint()({"own": jnp.zeros_like(hint), "hint": hint}, None).mean()), 1)
    assert float(Hint()({"own": hint, "hint": hint}, None).max()) == 0


def test_made_up_rows_stay_near_the_rows_that_they_are_made_of() -> None:
    group = np.repeat([0, 1], 40)
    numeric = (RNG.normal(size=(80, 3)) + 100 * group[:, None]).astype(np.float32)
    numeric[:, 2] = group  # a column of two values
    rows = {"numeric": numeric, "categorical": group[:, None].astype(np.int32)}
    made = made_up(rows, 2, seed=1)
    own = np.concatenate([group, group])
    assert {name: (each.shape, each.dtype) for name, each in made.items()} == {
        "numeric": ((160, 3), np.float32), "categorical": ((160, 1), np.int32),
    }  # fmt: skip
    np.testing.assert_array_equal(made["categorical"][:, 0], own)  # a neighbour is of the same group
    np.testing.assert_array_equal(made["numeric"][:, 2], own)  # and names are not changed a little
    assert np.abs(made["numeric"][:, :2] - 100 * own[:, None]).max() < 10
    changed = made["numeric"][:, 0] != np.concatenate([numeric, numeric])[:, 0]
    assert 0.3 < changed.mean() < 0.7  # each with one half
    assert not np.array_equal(made["numeric"][:80], made["numeric"][80:])
    jax.tree.map(np.testing.assert_array_equal, made, made_up(rows, 2, seed=1))


def test_a_row_that_is_made_up_has_no_label() -> None:
    outputs = {"student": jnp.zeros((2, 3)), "teacher": jnp.zeros((2, 3)), "true": jnp.array([1.0, 0.0])}
    np.testing.assert_allclose(
        OfStudent(CategoricalCrossEntropy())(outputs, jnp.array([0, 0])), [np.log(3), 0], rtol=1e-6
    )


def _workshop(rows: int = 400) -> tuple[Workshop, Any, Any]:
    """A planted teacher whose answers differ from the labels: these are noise."""
    x = RNG.normal(size=(rows, 3)).astype(np.float32)
    teacher = nn.MLP((), 2)
    params = ({"kernel": jnp.array([[2.0, -2.0], [-1.0, 1.0], [0.0, 0.0]]), "bias": jnp.array([0.5, -0.5])},)
    plan = recipe("binary", rows, numeric=3, epochs=60, learning_rate=0.03).replace(model=teacher, batch_size=100)
    noise = RNG.integers(0, 2, rows)
    half = rows // 2
    settings = {
        "loss": "categorical_cross_entropy", "metrics": ("log_loss",), "monitor": "val_loss",
        "validation": (x[half:], noise[half:]), "display": "none",
    }  # fmt: skip
    return Workshop(plan, (x[:half], noise[:half]), settings, half), (teacher, params, ({},)), x


@pytest.mark.parametrize("features", [0.0, pytest.param(0.5, marks=pytest.mark.slow)])
def test_a_student_learns_the_teachers_answers_and_not_the_labels(features: float) -> None:
    workshop, (teacher, params, state), x = _workshop()
    if features:
        teacher = nn.MLP((4,), 2)
        params, state = _begun(teacher, (3,), 5)
    student = nn.MLP((6,), 2)
    network, *variables = Distil(labels=0.0, features=features, student=student)(teacher, params, state, workshop)
    assert network == student
    ours, theirs = (
        jax.nn.softmax(net.apply(p, s, x)[0]) for net, p, s in ((network, *variables), (teacher, params, state))
    )
    assert np.mean(np.abs(ours - theirs)) < 0.05
    assert workshop.fitted is not None
    assert {"soft", "val_soft", "val_log_loss"} <= set(workshop.fitted.history[-1])


def test_mistakes() -> None:
    workshop, made, _ = _workshop(40)
    with pytest.raises(ConfigError, match=r"answers arrays of shape \(3,\), the teacher of \(2,\)"):
        Distil(student=nn.Dense(3))(*made, workshop)
    with pytest.raises(ConfigError, match="leaves nothing to be learnt from the teacher"):
        Distil(student=nn.Dense(2), labels=1.0)(*made, workshop)
    workshop.plan = workshop.plan.replace(loss="detection")
    with pytest.raises(ConfigError, match="trained by the loss detection cannot be distilled"):
        Distil(student=nn.Dense(2))(*made, workshop)


def test_a_metric_that_is_shown_is_the_mean_over_rows_with_a_label_of_their_own() -> None:
    outputs = {"student": jnp.array([[5.0, 0.0], [0.0, 5.0], [5.0, 0.0]]), "true": jnp.array([3.0, 0.0, 0.0])}
    truth = jnp.array([0, 0, 1])
    accuracy = OfStudent(get_metric("accuracy"), mean=True)
    assert float(accuracy(outputs, truth).mean()) == 1.0
    loss = OfStudent(CategoricalCrossEntropy())
    np.testing.assert_allclose(loss(outputs, truth)[1:], 0)
