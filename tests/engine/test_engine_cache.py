"""Compiled programs: where they are kept on disk, and how many in memory."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

import danlu
from danlu import nn
from danlu.engine import cache

GOLDEN = Path(__file__).parents[1] / "trained" / "golden" / "version-3" / "table"


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def homeless(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "expanduser", homeless)
        for setting in ("", "~nobody/x"):
            patch.setenv("DANLU_CACHE", setting)
            assert cache.cache_folder() is None
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path))
    assert cache.cache_folder() == tmp_path


def test_programs_are_let_go_before_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    cleared: list[int] = []
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(1))
    monkeypatch.setattr(cache, "_seen", set())
    monkeypatch.setenv("DANLU_PROGRAMS", "3")
    for name in "abcabcab":
        cache.note_program(name)
    assert not cleared
    cache.note_program("d")
    assert len(cleared) == 1
    assert len(cache._seen) == 1
    monkeypatch.setenv("DANLU_PROGRAMS", "0")
    for number in range(100):
        cache.note_program(number)
    assert len(cleared) == 1


def test_training_counts_its_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr("danlu.engine.training.note_program", seen.append)
    x = np.ones((4, 2), np.float32)
    for rate in (0.1, 0.2):
        danlu.fit(nn.Dense(1), (x, x[:, 0]), loss="mse", epochs=1, learning_rate=rate, display="none")
    assert len(seen) == 2
    assert len(set(seen)) == 1  # a learning rate is no other program


def test_a_loaded_model_finds_the_program_that_an_earlier_process_compiled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "xla"
    monkeypatch.setenv("DANLU_CACHE", str(folder))
    known = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        danlu.load(GOLDEN / "model")
        assert jax.config.jax_compilation_cache_dir == str(folder)
    finally:
        jax.config.update("jax_compilation_cache_dir", known)
