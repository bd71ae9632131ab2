"""Soft targets: the formula, PyTorch's, the derivative, the limit of a high temperature, members."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.errors import ConfigError, DataError
from danlu.nn.losses import CategoricalCrossEntropy, SoftTargets

pytestmark = pytest.mark.usefixtures("no_silent_broadcasting")
RNG = np.random.default_rng(11)
Z, TEACHER = RNG.normal(0, 2, (2, 5, 3))


def _softmax(z: np.ndarray) -> np.ndarray:
    return np.exp(z) / np.exp(z).sum(-1, keepdims=True)


def test_a_case_by_hand() -> None:
    # q = (9/10, 1/10) at T = 1; at T = 2 the square roots of the odds: (3/4, 1/4). p = (1/2, 1/2) at both.
    teacher = jnp.log(jnp.array([[9.0, 1.0]]))
    for temperature, q in ((1.0, 0.9), (2.0, 0.75)):
        expected = temperature**2 * (q * np.log(2 * q) + (1 - q) * np.log(2 * (1 - q)))
        np.testing.assert_allclose(SoftTargets(temperature)(jnp.zeros((1, 2)), teacher), [expected], rtol=1e-5)


def test_agrees_with_pytorch(golden: Any) -> None:
    def theirs(torch: Any) -> dict[str, Any]:
        F = torch.nn.functional
        z, t = torch.tensor(Z, requires_grad=True), torch.tensor(TEACHER)
        kl = F.kl_div(F.log_softmax(z / 3, -1), F.softmax(t / 3, -1), reduction="none").sum(-1) * 9
        (slope,) = torch.autograd.grad(kl.sum(), z)
        return {"values": kl, "slope": slope}

    expected = golden("torch", theirs)
    with jax.enable_x64(True):
        values, slope = jax.value_and_grad(lambda z: SoftTargets(3.0)(z, jnp.asarray(TEACHER)).sum())(jnp.asarray(Z))
        np.testing.assert_allclose(
            SoftTargets(3.0)(jnp.asarray(Z), jnp.asarray(TEACHER)), expected["values"], rtol=1e-10
        )
        np.testing.assert_allclose(values, expected["values"].sum(), rtol=1e-10)
        np.testing.assert_allclose(slope, expected["slope"], rtol=1e-9, atol=1e-12)


def test_the_gradient_is_the_formula_and_does_not_fade_with_the_temperature() -> None:
    with jax.enable_x64(True):
        z, t = jnp.asarray(Z), jnp.asarray(TEACHER)

        def slope(temperature: float) -> Any:
            return jax.grad(lambda z: SoftTargets(temperature)(z, t).sum())(z)

        np.testing.assert_allclose(slope(4.0), 4 * (_softmax(Z / 4) - _softmax(TEACHER / 4)), rtol=1e-9)
        # Hinton et al., eq. 4: for a high temperature (z − t)/classes, of logits with the mean 0
        centred = (Z - Z.mean(-1, keepdims=True)) - (TEACHER - TEACHER.mean(-1, keepdims=True))
        np.testing.assert_allclose(slope(1e4), centred / 3, atol=1e-3)


def test_two_classes_are_one_logit() -> None:
    z, t = jnp.asarray(Z[:, :1]), jnp.asarray(TEACHER[:, :1])
    both = [jnp.concatenate([jnp.zeros_like(each), each], axis=1) for each in (z, t)]
    np.testing.assert_allclose(SoftTargets(3.0, binary=True)(z, t), SoftTargets(3.0)(*both), rtol=1e-4, atol=1e-5)


def test_the_teacher_is_the_minimum_and_t_1_is_cross_entropy_less_entropy() -> None:
    t, z = jnp.asarray(TEACHER, jnp.float32), jnp.asarray(Z, jnp.float32)
    np.testing.assert_allclose(SoftTargets(2.0)(t + 5, t), np.zeros(5), atol=1e-6)
    q = _softmax(TEACHER)
    less = CategoricalCrossEntropy()(z, jnp.asarray(q, jnp.float32)) + (q * np.log(q)).sum(-1)
    np.testing.assert_allclose(SoftTargets(1.0)(z, t), less, rtol=1e-4, atol=1e-6)


def test_members_each_learn_from_the_teacher() -> None:
    z, t = jnp.asarray(Z), jnp.asarray(TEACHER)
    members = jnp.stack([z, 2 * z], axis=1)
    expected = (SoftTargets()(z, t) + SoftTargets()(2 * z, t)) / 2
    np.testing.assert_allclose(SoftTargets()(members, t), expected, rtol=1e-5)


def test_mistakes() -> None:
    with pytest.raises(ConfigError, match="temperature"):
        SoftTargets(0.0)
    with pytest.raises(DataError, match="SoftTargets received outputs of shape"):
        SoftTargets()(jnp.zeros((5, 3)), jnp.zeros((5, 4)))
