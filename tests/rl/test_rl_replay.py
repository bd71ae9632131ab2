"""Replay: what is written is what is drawn, in the right shares, in place, by many at once, and back from a checkpoint."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.engine.checkpoint import load_checkpoint, save_checkpoint
from danlu.errors import ConfigError, DataError
from danlu.rl.prioritised import Prioritised, SumTree
from danlu.rl.replay import Replay

ENVIRONMENTS = 3


def step(t: Any) -> dict[str, Any]:
    """A step whose numbers tell when and where it was: 10·t + environment."""
    code = 10 * jnp.asarray(t, jnp.int32) + jnp.arange(ENVIRONMENTS, dtype=jnp.int32)
    return {"code": code, "seen": {"pair": jnp.stack([code, -code], axis=1).astype(jnp.float32)}, "end": code % 2 == 0}


@jax.jit
def fill(empty: Any, count: int) -> Any:
    return jax.lax.fori_loop(0, count, lambda t, replay: replay.add(step(t)), empty)


def filled(count: int, *, capacity: int, **settings: Any) -> Any:
    kind = Prioritised if settings else Replay
    return fill(kind.of(step(0), capacity=capacity, **settings), count)


draw = jax.jit(lambda replay, key: replay.sample(key, 200, beta=1.0))
sample = jax.jit(lambda replay, key: replay.sample(key, 21_000))
windows_of = jax.jit(lambda replay, key, n: replay.windows(key, 400, n), static_argnums=2)


def codes(times: Any) -> set[int]:
    return {10 * t + env for t in times for env in range(ENVIRONMENTS)}


@pytest.mark.parametrize("steps", [1, 4, 7, 19])
def test_what_was_added_is_what_is_drawn(steps: int) -> None:
    replay = filled(steps, capacity=22)  # seven slots
    kept = range(max(0, steps - 7), steps)
    assert int(replay.size) == len(kept) * ENVIRONMENTS
    batch = sample(replay, jax.random.key(steps))
    assert set(batch["code"].tolist()) == codes(kept)
    np.testing.assert_array_equal(batch["seen"]["pair"], np.stack([batch["code"], -batch["code"]], axis=1))
    np.testing.assert_array_equal(batch["end"], batch["code"] % 2 == 0)
    assert replay.in_time_order()["code"][:, 0].tolist() == [10 * t for t in kept]
    n = 3 if steps >= 3 else 1
    windows = np.asarray(windows_of(replay, jax.random.key(1), n)["code"])
    assert set(windows[:, 0].tolist()) == codes(kept[: len(kept) - n + 1])
    np.testing.assert_array_equal(windows, windows[:, :1] + 10 * np.arange(n))


def test_it_is_drawn_uniformly() -> None:
    batch = sample(filled(9, capacity=22), jax.random.key(0))
    counts = np.bincount(batch["code"])
    assert (np.abs(counts[counts > 0] - 1000) < 5 * np.sqrt(1000)).all()


def test_a_population_has_one_each() -> None:
    """Two members, in one compiled program: each has its own steps, and its own α."""

    @jax.jit
    @jax.vmap
    def member(start: jax.Array, alpha: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        empty = Replay.of(step(0), capacity=12), Prioritised.of(step(0), capacity=6, alpha=alpha)
        add = lambda t, held: tuple(replay.add(step(start + t)) for replay in held)  # noqa: E731
        plain, prioritised = jax.lax.fori_loop(0, 6, add, empty)
        tree = prioritised.update(jnp.arange(6), jnp.arange(1.0, 7.0)).tree
        return plain.windows(key, 50, 2)["code"], tree.get(jnp.arange(6))

    seen, priorities = member(jnp.array([0, 100]), jnp.array([0.0, 1.0]), jax.random.split(jax.random.key(0)))
    assert set(seen[0, :, 0].tolist()) == codes(range(2, 5))
    assert set(seen[1, :, 1].tolist()) == codes(range(103, 106))
    np.testing.assert_allclose(priorities, np.stack([np.ones(6), np.arange(1, 7)]), rtol=1e-5)


def test_the_tree_sums_what_it_holds_after_many_changes() -> None:
    rng = np.random.default_rng(0)
    plain = np.zeros(1000)
    tree = SumTree.of(1000)
    change = jax.jit(SumTree.set)
    for _ in range(200):
        indices = rng.choice(1000, 16, replace=False)
        values = np.where(rng.random(16) < 0.3, 0, 10.0 ** rng.uniform(-3, 3, 16)).astype(np.float32)
        plain[indices] = values
        tree = change(tree, jnp.asarray(indices), jnp.asarray(values))
    assert float(tree.total) == pytest.approx(plain.sum(), rel=1e-6)
    for level in tree.levels:
        np.testing.assert_allclose(np.asarray(level).sum(), plain.sum(), rtol=1e-6)
    heights = np.sort(rng.uniform(0, plain.sum(), 500))
    find = jax.jit(SumTree.find)
    found = np.asarray(find(tree, jnp.asarray(heights, jnp.float32)))
    expected = np.searchsorted(np.cumsum(plain), heights, side="right")
    assert (found != expected).mean() < 0.01  # a height within rounding of a border may fall on either side
    assert (plain[found] > 0).all()
    total = float(tree.total)
    ends = find(tree, jnp.asarray(np.linspace(0, 1.01 * total, 500), jnp.float32))
    assert (plain[np.asarray(ends)] > 0).all()


def test_entries_are_drawn_by_priority_and_weighted_against_it() -> None:
    replay = filled(4, capacity=12, alpha=0.5, epsilon=0.25)
    errors = jnp.array([3.75, 0.0, -0.75, 8.75, 15.75, 0.0, 0.0, 2.0, -2.0, 24.75, 1.0, 1.0])
    replay = jax.jit(Prioritised.update)(replay, jnp.arange(12), errors)
    priority = np.sqrt(np.abs(np.asarray(errors)) + 0.25)
    share = priority / priority.sum()
    np.testing.assert_allclose(replay.tree.levels[0].ravel()[:12], priority, rtol=1e-6)
    assert float(replay.largest) == 5.0
    eight = jax.jit(jax.vmap(lambda replay, key: replay.sample(key, 8, beta=0.5), (None, 0)))
    drawn = eight(replay, jax.random.split(jax.random.key(0), 4000))
    counts = np.bincount(np.asarray(drawn.indices).ravel(), minlength=12)
    assert (np.abs(counts - 32_000 * share) < 5 * np.sqrt(32_000 * share)).all()
    # By hand, from the definition: (N·P)^−β over the largest of the batch.
    indices = np.asarray(drawn.indices[0])
    weights = (12 * share[indices]) ** -0.5
    np.testing.assert_allclose(drawn.weights[0], weights / weights.max(), rtol=1e-5)
    np.testing.assert_array_equal(drawn.rows["code"][0], 10 * (indices // 3) + indices % 3)
    # Stratified: of equal parts of the sum each has one, so no entry comes more often than its share allows.
    assert (np.diff(np.cumsum(share)[indices]) >= 0).all()
    # A new entry has the largest priority.
    newer = fill(replay, 1)
    np.testing.assert_allclose(newer.tree.levels[0].ravel()[:3], 5.0)


def test_windows_by_priority_are_whole() -> None:
    seen: set[int] = set()
    for steps in (2, 3, 5, 7, 12):
        replay = filled(steps, capacity=15, steps=3)  # five slots
        whole = range(max(0, steps - 5), steps - 2)
        if not len(whole):
            assert float(replay.tree.total) == 0
            continue
        drawn = draw(replay, jax.random.key(steps))
        windows = np.asarray(drawn.rows["code"])
        assert set(windows[:, 0].tolist()) == codes(whole)
        np.testing.assert_array_equal(windows, windows[:, :1] + 10 * np.arange(3))
        assert drawn.weights.tolist() == [1.0] * 200
        late = jax.jit(Prioritised.update)(replay, jnp.arange(15), jnp.full(15, 9.0))  # what cannot be drawn stays so
        windows = np.asarray(draw(late, jax.random.key(0)).rows["code"])
        assert set(windows[:, 0].tolist()) == codes(whole)
        seen |= codes(whole)
    assert len(seen) > 10


def test_it_comes_back_from_a_checkpoint(tmp_path: Path) -> None:
    replay = filled(6, capacity=15, steps=3)
    save_checkpoint(tmp_path / "c.safetensors", replay, {})
    restored, _ = load_checkpoint(tmp_path / "c.safetensors", Prioritised.of(step(0), capacity=15, steps=3))
    ours, theirs = (draw(fill(r, 2), jax.random.key(3)) for r in (replay, restored))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_adding_in_a_loop_copies_nothing() -> None:
    """2000 rounds of adding and drawing from a small and a large memory: a copy a round would be 10 GB, and take seconds."""
    seconds = {}
    for capacity in (1_000, 100_000):

        def run(replay: Replay, total: jax.Array) -> tuple[Replay, jax.Array]:
            def body(i: Any, held: tuple[Replay, jax.Array]) -> tuple[Replay, jax.Array]:
                replay = held[0].add({"x": jnp.full((1, 16), i, jnp.float32)})
                return replay, held[1] + replay.sample(jax.random.key(i), 8)["x"].sum()

            return jax.lax.fori_loop(0, 2000, body, (replay, total))

        compiled = jax.jit(run, donate_argnums=(0, 1))
        carry = compiled(Replay.of({"x": jnp.zeros((1, 16))}, capacity=capacity), jnp.float32(0))
        taken = []
        for _ in range(3):
            start = time.perf_counter()
            carry = jax.block_until_ready(compiled(*carry))
            taken.append(time.perf_counter() - start)
        seconds[capacity] = min(taken)
    assert seconds[100_000] < 5 * seconds[1_000] + 0.5


def test_mistakes_are_named() -> None:
    with pytest.raises(DataError, match="leading axis of environments"):
        Replay.of({"a": jnp.zeros((2, 3)), "b": jnp.zeros(3)}, capacity=10)
    with pytest.raises(ConfigError, match="one step of 3 environments does not fit"):
        Replay.of(step(0), capacity=2)
    replay = filled(3, capacity=22)
    with pytest.raises(DataError, match=r"int32\[4\].*expects int32\[3\]"):
        replay.add({**step(0), "code": jnp.zeros(4, jnp.int32)})
    with pytest.raises(DataError, match="this replay holds"):
        replay.add({"code": jnp.zeros(3, jnp.int32)})
    with pytest.raises(ConfigError, match="a window of 8 steps is asked of a replay of 7"):
        replay.windows(jax.random.key(0), 2, 8)
    with pytest.raises(ConfigError, match=r"Prioritised\.steps is 4; expected 1 to 3"):
        Prioritised.of(step(0), capacity=9, steps=4)
    with pytest.raises(ConfigError, match=r"Prioritised\.alpha is -1"):
        Prioritised.of(step(0), capacity=9, alpha=-1.0)
