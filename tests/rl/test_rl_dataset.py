"""Recorded experience: what is saved is what is loaded, and what is no buffer is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from danlu.errors import ArtifactError, ConfigError, DataError
from danlu.rl.dataset import load_buffer, save_buffer
from danlu.rl.environment import Transition
from danlu.rl.prioritised import Prioritised
from danlu.rl.spaces import Box, DictSpace, Discrete, MultiDiscrete

SEEN = DictSpace((("pair", Box(-1.0, 1.0, (2,))), ("pic/ture", Box(0.0, 255.0, (2, 2), "uint8"))))
SPACES: dict[str, Any] = {"observation_space": SEEN, "action_space": Discrete(3)}


def recorded(time: int = 5, environments: int = 2, seed: int = 0) -> Transition:
    rng = np.random.default_rng(seed)
    lead = (time, environments)

    def seen() -> dict[str, Any]:
        return {
            "pair": jnp.asarray(rng.normal(size=(*lead, 2)), jnp.float32),
            "pic/ture": jnp.asarray(rng.integers(256, size=(*lead, 2, 2)), jnp.uint8),
        }

    kind = rng.choice(3, size=lead)
    return Transition(
        observation=seen(),
        action=jnp.asarray(rng.integers(3, size=lead), jnp.int32),
        reward=jnp.asarray(rng.normal(size=lead), jnp.float32),
        next_observation=seen(),
        terminated=jnp.asarray(kind == 1),
        truncated=jnp.asarray(kind == 2),
        steps=jnp.zeros(lead, jnp.int32),
        score=jnp.zeros(lead, jnp.float32),
    )


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    rows, path = recorded(), tmp_path / "seen.safetensors"
    save_buffer(path, rows, **SPACES, note={"by": "chance"})
    found = load_buffer(path)
    assert (found.observation_space, found.action_space, found.note) == (SEEN, Discrete(3), {"by": "chance"})
    for name in ("observation", "action", "reward", "next_observation", "terminated", "truncated"):
        jax.tree.map(np.testing.assert_array_equal, getattr(found.transitions, name), getattr(rows, name))
    ended = np.asarray(rows.ended)
    for env in range(2):
        length, total = 0, 0.0
        for t in range(5):
            length, total = length + 1, total + float(rows.reward[t, env])
            assert found.transitions.steps[t, env] == length
            assert found.transitions.score[t, env] == pytest.approx(total, abs=1e-6)
            if ended[t, env]:
                length, total = 0, 0.0
    assert found.replay.sample(jax.random.key(0), 4).observation["pair"].shape == (4, 2)


def test_a_replay_is_saved_in_time_order(tmp_path: Path) -> None:
    rows, path = recorded(), tmp_path / "seen.safetensors"
    replay = Prioritised.of(jax.tree.map(lambda array: array[0], rows), capacity=6)
    add = jax.jit(Prioritised.add)
    for t in range(5):
        replay = add(replay, jax.tree.map(lambda array, t=t: array[t], rows))
    save_buffer(path, replay, **SPACES)
    np.testing.assert_array_equal(load_buffer(path).transitions.reward, rows.reward[2:])


def test_what_does_not_fit_is_refused_before_a_file_is_written(tmp_path: Path) -> None:
    rows, path = recorded(), tmp_path / "seen.safetensors"

    def refuse(message: str, changed: Any, **spaces: Any) -> None:
        with pytest.raises(DataError, match=message):
            save_buffer(path, changed, **{**SPACES, **spaces})
        assert not path.exists()

    refuse("have no observation, action", {"reward": rows.reward})
    refuse("action goes from 0 to 2; its space ends at 1", rows, action_space=Discrete(2))
    refuse(r"action is int32\[5, 2\]; expected int32\[5, 2, 2\]", rows, action_space=MultiDiscrete((3, 3)))
    refuse("the spaces ask for", rows, observation_space=Box(-1.0, 1.0, (2,)))
    refuse("reward holds 10 numbers that are not finite", dataclasses.replace(rows, reward=rows.reward * jnp.nan))
    refuse("both terminated and truncated", dataclasses.replace(rows, terminated=rows.ended, truncated=rows.ended))
    refuse("at least 1 of each", jax.tree.map(lambda array: array[:0], rows))
    with pytest.raises(ConfigError, match="the note"):
        save_buffer(path, rows, **SPACES, note={"what": object()})
    wide = dataclasses.replace(rows, reward=np.asarray(rows.reward, np.float64))
    save_buffer(path, wide, **SPACES)
    np.testing.assert_array_equal(load_buffer(path).transitions.reward, rows.reward)


def test_files_that_are_no_buffers_are_named(tmp_path: Path) -> None:
    path = tmp_path / "seen.safetensors"
    with pytest.raises(DataError, match="no buffer of transitions at"):
        load_buffer(path)
    save_buffer(path, recorded(), **SPACES)
    whole = path.read_bytes()
    for damaged in (b"", b"a,b\n1,2\n", whole[:-7], whole[: len(whole) // 3]):
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match="damaged, or no buffer"):
            load_buffer(path)
    save_file({"weight": np.ones(3, np.float32)}, path)
    with pytest.raises(ArtifactError, match="of another kind"):
        load_buffer(path)
    for old, new, message in (
        (b"danlu-buffer-1", b"danlu-buffer-9", "expected 'danlu-buffer-1'"),
        (b'{\\"blueprint', b'[\\"blueprint', "not valid JSON"),
        (b'\\"n\\":3', b'\\"n\\":2', "its space ends at 1"),
        (b'\\"n\\": 3', b'\\"n\\": 2', "its space ends at 1"),
    ):
        if old in whole:
            path.write_bytes(whole.replace(old, new, 1))
            with pytest.raises(ArtifactError, match=message):
                load_buffer(path)
