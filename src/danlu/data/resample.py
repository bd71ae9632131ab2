"""Orders of training rows that show rare classes as often as common ones.

An order is an int32 vector of row numbers (see ``docs/design/architecture.md``); drawing one per epoch is all that over- and
under-sampling take.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from danlu.errors import ConfigError, DataError

__all__ = ["RESAMPLERS", "oversample", "resampler", "undersample"]


def _generator(seed: int, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed & 0xFFFFFFFF, epoch & 0xFFFFFFFF])))


def _classes(labels: np.ndarray) -> list[np.ndarray]:
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        raise DataError(
            f"the labels have shape {labels.shape} and dtype {labels.dtype}; expected class codes, (rows,) integers",
            hint="resampling is for classification",
        )
    return [np.flatnonzero(labels == code) for code in np.unique(labels)]


def oversample(labels: np.ndarray, seed: int, *, epoch: int = 0) -> np.ndarray:
    """An order in which each class occurs as often as the most frequent one.

    Each row of a class comes equally often, give or take one: whole copies first, the rest drawn without
    replacement.

    Args:
        labels: ``(rows,)`` class codes.
        seed, epoch: the same pair gives the same order.

    Returns:
        ``(classes · rows of the largest class,)`` int32, shuffled. The length is the same in each epoch.

    Example:
        >>> order = oversample(np.array([0, 0, 0, 1]), seed=0)
        >>> sorted(order.tolist())
        [0, 1, 2, 3, 3, 3]
    """
    rng, classes = _generator(seed, epoch), _classes(labels)
    size = max(len(rows) for rows in classes)
    drawn = [
        np.concatenate([np.tile(rows, size // len(rows)), rng.choice(rows, size % len(rows), replace=False)])
        for rows in classes
    ]
    return rng.permutation(np.concatenate(drawn)).astype(np.int32)


def undersample(labels: np.ndarray, seed: int, *, epoch: int = 0) -> np.ndarray:
    """An order in which each class occurs as often as the rarest one, drawn without replacement in each epoch.

    Args:
        labels: ``(rows,)`` class codes.
        seed, epoch: the same pair gives the same order.

    Returns:
        ``(classes · rows of the smallest class,)`` int32, shuffled. The length is the same in each epoch.

    Example:
        >>> len(undersample(np.array([0, 0, 0, 1]), seed=0))
        2
    """
    rng, classes = _generator(seed, epoch), _classes(labels)
    size = min(len(rows) for rows in classes)
    return rng.permutation(np.concatenate([rng.choice(rows, size, replace=False) for rows in classes])).astype(np.int32)


RESAMPLERS: dict[str, Callable[..., np.ndarray]] = {"oversample": oversample, "undersample": undersample}


def resampler(name: str, labels: np.ndarray) -> Callable[[int, np.random.Generator], np.ndarray]:
    """A sampler for the trainer, ``sampler(epoch, rng) -> row numbers``: ``"oversample"`` or ``"undersample"``.

    The random numbers are the trainer's, so a resumed run draws the same orders.
    """
    if name not in RESAMPLERS:
        raise ConfigError(f"unknown resampling {name!r}; expected one of: {', '.join(RESAMPLERS)}")
    draw = RESAMPLERS[name]
    _classes(labels)
    return lambda epoch, rng: draw(labels, int(rng.integers(2**31)), epoch=epoch)
