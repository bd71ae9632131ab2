from __future__ import annotations

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture
def no_silent_broadcasting() -> Iterator[None]:
    """Arrays of different rank never meet by accident in this room."""
    with jax.numpy_rank_promotion("raise"):
        yield
