"""Whether an explanation is true to the model: what happens to the score when the parts it names are taken away, or put in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from danlu.errors import ConfigError, DataError

__all__ = ["Faithfulness", "faithfulness"]


@dataclasses.dataclass(frozen=True, eq=False)
class Faithfulness:
    """The score while parts are taken away and put in, by an explanation and at random.

    Attributes:
        deletion: the score without the first 0, 1, … parts, ``(parts + 1,)``: falls early where the explanation is right.
        insertion: the score with only the first 0, 1, … parts, ``(parts + 1,)``: rises early where the explanation is right.
        random_deletion, random_insertion: the same in random orders, ``(orders, parts + 1)``.
    """

    deletion: np.ndarray
    insertion: np.ndarray
    random_deletion: np.ndarray
    random_insertion: np.ndarray

    @property
    def areas(self) -> dict[str, float]:
        """The mean height of each curve, by the trapezoid rule; ``"random …"`` is the mean over the orders."""
        return {
            "deletion": _area(self.deletion),
            "random deletion": float(np.mean([_area(each) for each in self.random_deletion])),
            "insertion": _area(self.insertion),
            "random insertion": float(np.mean([_area(each) for each in self.random_insertion])),
        }

    def __str__(self) -> str:
        found = self.areas
        return (
            f"deletion {found['deletion']:.4g} (random {found['random deletion']:.4g}; lower is better), "
            f"insertion {found['insertion']:.4g} (random {found['random insertion']:.4g}; higher is better)"
        )


def faithfulness(
    value: Callable[[np.ndarray], np.ndarray], added: np.ndarray, *, orders: int = 20, seed: int = 0
) -> Faithfulness:
    """Deletion and insertion curves of an explanation, beside those of random orders.

    The parts that added most come first.

    Args:
        value: the score of a row with only some of its parts, ``(rows, parts)`` of bools to ``(rows,)``; what is taken away
            is replaced by what means nothing, see :func:`~danlu.explain.coalition_values`.
        added: what the explanation says that each part adds, ``(parts,)``.
        orders: random orders, >= 1.
        seed: decides them.

    Raises:
        ConfigError: no random orders.
        DataError: no parts.

    Reference:
        Petsiuk, Das & Saenko, "RISE: randomized input sampling for explanation of black-box models" (2018), section 4.2.

    Example:
        >>> slope = np.array([3.0, 1.0, 0.0])
        >>> found = faithfulness(lambda present: present @ slope, slope)
        >>> found.deletion.tolist(), found.insertion.tolist()
        ([4.0, 1.0, 0.0, 0.0], [0.0, 3.0, 4.0, 4.0])
    """
    added = np.asarray(added, np.float64)
    if orders < 1:
        raise ConfigError(f"orders is {orders}; expected at least 1")
    if added.ndim != 1 or not added.size:
        raise DataError(f"added has the shape {added.shape}; expected (parts,), at least one")
    rng = np.random.default_rng(seed)
    ways = np.stack([np.argsort(-added, kind="stable"), *(rng.permutation(added.size) for _ in range(orders))])
    rank = np.argsort(ways, axis=1)  # when each part comes
    inserted = rank[:, None, :] < np.arange(added.size + 1)[None, :, None]  # (orders, parts + 1, parts)
    both = np.concatenate([~inserted, inserted])
    scores = np.asarray(value(both.reshape(-1, added.size)), np.float64).reshape(both.shape[:2])
    gone, there = scores[: len(ways)], scores[len(ways) :]
    return Faithfulness(gone[0], there[0], gone[1:], there[1:])


def _area(curve: np.ndarray) -> float:
    return float((curve[:-1] + curve[1:]).mean() / 2)
