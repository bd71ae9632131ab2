"""Towers of several modalities: an absent one says nothing, and in training none is left without the last."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.errors import ConfigError
from danlu.nn import Dense, Fusion, TabularNet
from danlu.nn.fusion import FUSIONS

HEAD = TabularNet(2, (3,), members=2, width=6, depth=1, dropout=0.0)
SHAPE = {"table": {"numeric": (2,), "categorical": (1,)}, "parts": {"photo": (5,), "note": (4,)}, "present": (3,)}


def net(kind: str = "late", **changes: Any) -> Fusion:
    return Fusion(("photo", "note"), (Dense(4), Dense(4)), HEAD, 4, kind=kind, **changes)


def rows(count: int = 6) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "table": {
            "numeric": rng.normal(size=(count, 2)).astype(np.float32),
            "categorical": rng.integers(1, 3, (count, 1)),
        },
        "parts": {
            "photo": rng.normal(size=(count, 5)).astype(np.float32),
            "note": rng.normal(size=(count, 4)).astype(np.float32),
        },
        "present": np.ones((count, 3), np.float32),
    }


@pytest.mark.parametrize("kind", FUSIONS)
def test_what_is_absent_does_not_change_the_answer_and_what_is_there_does(kind: str) -> None:
    model, x = net(kind), rows()
    params, state, shape = model.init(jax.random.key(0), SHAPE)
    run = jax.jit(lambda x: model.apply(params, state, x)[0])
    assert run(x).shape == (6, *shape) == (6, 6 if kind == "blend" else 2, 2)
    for place, change in (
        (0, {"table": {"numeric": x["table"]["numeric"] + 3.0, "categorical": 3 - x["table"]["categorical"]}}),
        (1, {"parts": {**x["parts"], "photo": x["parts"]["photo"] * -2.0}}),
        (2, {"parts": {**x["parts"], "note": x["parts"]["note"] + 1.0}}),
    ):
        here = x["present"].copy()
        here[:, place] = 0
        np.testing.assert_array_equal(run({**x, "present": here}), run({**x, **change, "present": here}))
        assert not np.allclose(run(x), run({**x, **change}))


def test_the_head_of_a_blend_sees_its_own_modality_alone() -> None:
    model, x = net("blend"), rows()
    params, state, _ = model.init(jax.random.key(0), SHAPE)
    other = {**x, "parts": {**x["parts"], "photo": x["parts"]["photo"] + 1.0}}
    moved = np.abs(model.apply(params, state, x)[0] - model.apply(params, state, other)[0]).max(axis=(0, 2)) > 0
    assert moved.tolist() == [False, False, True, True, False, False]


def test_in_training_modalities_are_taken_away_but_never_the_last_one() -> None:
    model, here = net(dropout=0.6), jnp.asarray(np.tile([[1, 1, 1], [1, 0, 0], [0, 1, 1], [0, 0, 0]], (500, 1))) > 0
    kept = np.asarray(model._kept(here, jnp.asarray(0.6), jax.random.key(0)))
    assert not (kept & ~np.asarray(here)).any()
    np.testing.assert_array_equal(kept.any(axis=1), np.asarray(here).any(axis=1))
    # Of three, each stays with 0.4, and all stay where none would: 0.4 + 0.6³.
    np.testing.assert_allclose(kept[::4].mean(), 0.4 + 0.6**3, atol=0.03)


def test_towers_of_other_sizes_and_other_inputs_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"the tower of 'note' gives the shape \(3,\); expected \(4,\)"):
        Fusion(("photo", "note"), (Dense(4), Dense(3)), HEAD, 4).init(jax.random.key(0), SHAPE)
    with pytest.raises(ConfigError, match="expected one name a tower"):
        Fusion(("photo",), (Dense(4), Dense(4)), HEAD, 4)
    with pytest.raises(ConfigError, match="expected a dict with parts, present and table"):
        net().out_shape({"parts": {"photo": (5,), "note": (4,)}, "present": (2,)})
