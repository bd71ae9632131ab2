"""Some rows of a source to look at, and its targets: of arrays, of batches, and of a stream that is larger than memory."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from danlu.engine.case import constant_loss, loss_name
from danlu.engine.sources import Piece

__all__ = ["Sample"]

_ROWS = 256  # that are looked at
_TARGETS = 2**17  # from which the best constant answer follows
_PIECES = 64


class Sample:
    """Rows in the order in which the training came by them, all of the width of the first (sentences come in several).

    Example:
        >>> sample = Sample()
        >>> chunk = {"x": np.arange(4.0), "y": np.arange(4), "weight": np.ones(4)}
        >>> sample.add(Piece(chunk, np.array([2, 0, ~0, ~0]), 1, 4))
        >>> sample.rows["y"].tolist(), sample.full
        ([2, 0], False)
    """

    def __init__(self) -> None:
        self._rows: list[Any] = []
        self._kept = self._seen = self._pieces = 0
        self._targets: list[tuple[np.ndarray, np.ndarray]] = []
        self._last: Any = None
        self._shapes: list[tuple[int, ...]] | None = None

    @property
    def full(self) -> bool:
        """Whether nothing more is kept."""
        return self._seen >= _TARGETS or self._pieces >= _PIECES

    def add(self, piece: Piece) -> None:
        """Keep what is still wanted of a piece; of the same one again nothing."""
        chunk = piece.chunk
        if self.full or chunk is self._last or not chunk:
            return
        self._last, self._pieces = chunk, self._pieces + 1
        shapes = [leaf.shape[1:] for leaf in jax.tree.leaves(chunk)]
        if self._shapes not in (None, shapes):
            return
        self._shapes = shapes
        order = np.asarray(piece.order)
        places = order[0] if order.ndim > 1 else order
        places = places[places >= 0]
        wanted = places[: _ROWS - self._kept]
        if wanted.size:
            self._rows.append(jax.tree.map(lambda leaf: _taken(leaf, wanted), chunk))
            self._kept += wanted.size
        if hasattr(chunk["y"], "shape"):  # of one output
            more = places[: _TARGETS - self._seen]
            self._targets.append((_taken(chunk["y"], more), _taken(chunk["weight"], more)))
        self._seen += places.size

    @property
    def rows(self) -> dict[str, Any]:
        """Up to 256 rows ``{"x", "y", "weight"}`` on the host; empty where there are none, as of an agent."""
        if not self._rows:
            return {}
        found: dict[str, Any] = jax.tree.map(lambda *parts: np.concatenate(parts), *self._rows)
        return found

    def constant(self, program: Any) -> float | None:
        """The loss of the best constant answer, from up to 131,072 rows; None where it is not known."""
        if not self._targets:
            return None
        y, weight = (np.concatenate(parts) for parts in zip(*self._targets, strict=True))
        return constant_loss(loss_name(program), y, weight)


def _taken(array: Any, places: np.ndarray) -> np.ndarray:
    """Rows of an array on the host: those of an accelerator are taken there, those in the host's memory need no program."""
    on_host = isinstance(array, np.ndarray) or jax.default_backend() == "cpu"
    return np.asarray(array)[places] if on_host else np.asarray(array[places])
