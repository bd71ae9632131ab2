"""Receipts: what is called faster, what is counted, how it is told, and a whole measurement of a golden model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import danlu
from danlu import nn
from danlu.compression.fresh import packed, unpacked
from danlu.compression.race import Race, Ratio, Speed, raced
from danlu.compression.receipt import Receipt, Receipts, Stage, receipts
from danlu.compression.told import changes, told
from danlu.compression.work import multiply_adds
from danlu.evaluate import Interval, Rows, compare
from danlu.nn.counted import numbers
from danlu.prose import wide

GOLDEN = Path(__file__).parents[1] / "trained" / "golden" / "version-3"


def test_equal_models_are_called_faster_or_slower_in_5_of_100_races_at_the_most() -> None:
    random = np.random.default_rng(0)
    verdicts = [Race(random.lognormal(0, 0.5, (2, 21))).ratio(0, 1).verdict for _ in range(1000)]
    assert sum(verdict != "undecided" for verdict in verdicts) <= 50
    quick = [Race(random.lognormal(0, 0.1, (2, 21)) * np.array([[2.0], [1.0]])).ratio(0, 1) for _ in range(100)]
    assert all(each.verdict == "faster" for each in quick)
    assert np.mean([each.low <= 2 <= each.high for each in quick]) > 0.9


def test_too_few_rounds_tell_nothing() -> None:
    assert Race(np.array([[2.0] * 5, [1.0] * 5])).ratio(0, 1).verdict == "undecided"
    assert Race(np.array([[1.0] * 6, [2.0] * 6])).ratio(0, 1).verdict == "slower"


def test_models_take_turns_and_are_warm() -> None:
    calls: list[int] = []
    race = raced([lambda: calls.append(0), lambda: calls.append(1)], rounds=4, least=0.0)
    assert race.times.shape == (2, 4)
    assert calls[:8] == [0] * 4 + [1] * 4  # warmed up, and twice to see how long it takes
    turns = np.array(calls[8:]).reshape(4, 2)
    np.testing.assert_array_equal(turns.sum(axis=1), 1)
    assert np.isclose(race.speed(0).median, np.median(race.times[0]))


def test_a_call_that_waited_for_the_machine_does_not_say_how_often_a_model_is_called(monkeypatch: Any) -> None:
    """A model that is called once a round is timed cold, beside another that is called many times and is not."""
    now, calls = [0.0], [0, 0]

    def call(which: int) -> None:
        calls[which] += 1
        now[0] += 1.0 if (which, calls[which]) == (0, 3) else 0.001

    monkeypatch.setattr("danlu.compression.race.time.perf_counter", lambda: now[0])
    raced([lambda: call(0), lambda: call(1)], rounds=7, least=0.01)
    assert calls[0] == calls[1] > 70


def test_multiplications_are_those_of_the_formulas() -> None:
    def counted(net: nn.Layer, shape: tuple[int, ...], rows: int = 3) -> int:
        params, state, _ = net.init(jax.random.key(0), shape)
        return multiply_adds(net, params, state, np.zeros((rows, *shape), np.float32))

    assert counted(nn.Dense(4), (3,)) == 12
    assert counted(nn.Ensemble(nn.Dense(4), 5), (3,)) == 60
    # 3×3 over 4 channels to 8, at 6×6 places ("same"); then 8 features to 2
    conv = nn.Sequential((nn.Conv(8, 3), nn.GlobalAveragePool(), nn.Dense(2)))
    assert counted(conv, (6, 6, 4)) == 9 * 4 * 8 * 36 + 16
    copies = nn.Ensemble(conv, 2)
    made = jax.tree.map(np.asarray, copies.init(jax.random.key(0), (6, 6, 4))[:2])  # as a saved model has them
    assert multiply_adds(copies, *made, np.zeros((1, 6, 6, 4), np.float32)) == 2 * (9 * 4 * 8 * 36 + 16)
    # four gates of 5 units, from 2 inputs and 5 units, at each of 7 steps
    params, state, _ = nn.LSTM(5).init(jax.random.key(0), (7, 2))
    assert multiply_adds(nn.LSTM(5), params, state, np.zeros((1, 7, 2), np.float32)) == 7 * 4 * 5 * (2 + 5)


def test_parameters_that_are_not_0() -> None:
    assert numbers({"a": jnp.array([1.0, 0.0]), "b": (np.zeros((2, 3)), np.ones(1, np.int8))}) == (9, 2)


def test_rows_are_packed_and_unpacked() -> None:
    rows = {"words": {"x": np.ones((2, 3)), "mask": np.zeros((2, 3), bool)}, "n": np.arange(2)}
    back = unpacked(packed(rows))
    jax.tree.map(np.testing.assert_array_equal, rows, back)
    np.testing.assert_array_equal(unpacked(packed(np.arange(3))), np.arange(3))


def _receipts(ratio: Ratio, *, right: float = 0.9, stages: int = 2) -> Receipts:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 300)

    def rows(share: float) -> Rows:
        sure = np.where(random.random(300) < share, 0.9, 0.1)
        return Rows("binary", truth, np.stack([np.where(truth == k, sure, 1 - sure) for k in (0, 1)], axis=1))

    first, last = rows(0.9), rows(right)
    score = Interval(0.9, 0.85, 0.93)
    speeds = {("danlu", 1): Speed(1e-4, 9e-5, 1.1e-4)}
    one = Receipt(
        "before", 2_000_000, 1_900_000, 500_000, 500_000, 400, speeds, {"danlu": 250_000_000}, "roc_auc", score
    )
    others = [
        dataclasses.replace(
            one, name=f"a technique with a long name {k}", bytes=500_000, file=None, ratios={("danlu", 1): ratio},
            compared=compare(last, first, "before"),
        )
        for k in range(stages - 1)
    ]  # fmt: skip
    return Receipts((one, *others), 300, "test rows", 21, 1, 2)


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (Ratio(1.4, 0.9, 2.0), "no clear difference"),
        (Ratio(0.5, 0.4, 0.6), "slower, 2 times the time"),
        (Ratio(2.0, 1.5, 2.5), "2 times faster (95 % interval 1.5 to 2.5)"),
    ],
)
def test_faster_is_said_only_where_the_interval_is_above_1(ratio: Ratio, said: str) -> None:
    text = " ".join(told(_receipts(ratio)).split())
    assert said in text
    assert ("faster" in text) == (ratio.low > 1)


def test_a_loss_is_said_and_so_is_that_the_rows_cannot_tell() -> None:
    same, worse = (changes(_receipts(Ratio(1, 1, 1), right=share))[-1] for share in (0.9, 0.6))
    assert "no loss that 300 test rows can tell" in same
    assert "WORSE by" in worse


def test_the_table_fits_a_terminal_however_many_stages_there_are() -> None:
    for count in (1, 2, 5):
        text = told(_receipts(Ratio(2.0, 1.5, 2.5), stages=count))
        assert max(map(wide, text.splitlines())) <= 80
    json.dumps(_receipts(Ratio(2.0, 1.5, float("inf"))).as_dict(), allow_nan=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["table", "image"])
def test_a_model_beside_itself(kind: str) -> None:
    pytest.importorskip("onnxruntime")
    from danlu.export.kinds import kind_of

    model: Any = danlu.load(GOLDEN / kind / "model")
    made = kind_of(model.encoder).made(model.encoder, np.random.default_rng(0))
    half = dataclasses.replace(
        model, params=jax.tree.map(lambda leaf: np.where(np.abs(leaf) > 0.1, leaf, 0), model.params)
    )
    found = receipts([Stage("before", model), Stage("half", half)], model.encoder.transform(made), rounds=7)
    first, last = found.stages
    assert (
        first.bytes == sum((GOLDEN / kind / "model" / name).stat().st_size for name in ("weights.safetensors",))
        or first.bytes > 0
    )
    assert last.nonzero < first.nonzero == numbers(model.params)[1]
    assert set(first.speeds) == {(engine, rows) for engine in ("danlu", "onnxruntime") for rows in (1, 256)}
    assert first.speeds["danlu", 256].median > first.speeds["danlu", 1].median
    assert all(10e6 < size < 4e9 for size in first.memory.values())
    assert first.memory["danlu"] > first.memory["onnxruntime"]
    assert not found.notes
    json.dumps(found.as_dict(), allow_nan=False)
