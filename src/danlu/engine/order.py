"""Orders: which rows of a chunk are visited, in which sequence, and with what weight.

A *chunk* is a tree of arrays with one leading row axis. An *order* is an int32 vector of its row numbers. An entry
``r >= 0`` is row ``r``; a negative entry ``~r`` (that is, ``-1 - r``) is row ``r`` *with weight zero*: it fills a batch up
without counting. This one idea serves as

- the shuffle, and the ragged last batch (filled up with rows of weight zero, so that nothing recompiles; real rows, so
  that batch statistics stay those of the data);
- over- and under-sampling, a fold of cross-validation (a population gives each member an order of its own);
- evaluation and prediction in batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = [
    "Sampler",
    "capacity",
    "columns",
    "even_batches",
    "gather",
    "num_batches",
    "pad_order",
    "pad_rows",
    "rng_for",
    "shuffled",
]

Sampler = Callable[[int, np.random.Generator], np.ndarray]
"""``sampler(epoch, rng) -> row numbers`` for one epoch, in the sequence in which they are to be visited."""


def rng_for(*words: int) -> np.random.Generator:
    """The random generator of the moment named by ``words`` (seed, epoch, chunk): the same words, the same numbers."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([word & 0xFFFFFFFF for word in words])))


def shuffled(rows: int | np.ndarray) -> Sampler:
    """A sampler that visits each of ``rows`` (a count, or row numbers) once an epoch in random sequence."""

    def sample(epoch: int, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(rows)

    return sample


def capacity(rows: int) -> int:
    """``rows`` rounded up to one of eight sizes an octave, so that tables of similar size share a compiled program.

    >>> [capacity(n) for n in (3, 16, 17, 891, 1000)]
    [8, 16, 18, 896, 1024]
    """
    if rows <= 8:
        return 8
    grain: int = max(1, 2 ** (int(rows - 1).bit_length() - 4))
    return -(-rows // grain) * grain


def num_batches(rows: int, batch_size: int) -> int:
    """Batches in an order of ``rows`` entries, the last one perhaps ragged."""
    return -(-rows // batch_size)


def pad_order(order: np.ndarray, batch_size: int, *, length: int | None = None) -> np.ndarray:
    """``order`` filled up to whole batches (and to ``capacity(length)`` entries) with its own rows at weight zero.

    >>> pad_order(np.array([4, 2, 0]), 2).tolist()[:4]
    [4, 2, 0, -5]
    """
    order = np.asarray(order, np.int32)
    full = num_batches(capacity(max(length or 0, order.size)), batch_size) * batch_size
    if order.size == 0:
        return np.full(full, -1, np.int32)
    filler = np.resize(order, full - order.size)
    return np.concatenate([order, np.where(filler >= 0, ~filler, filler)])


def columns(rows: int, batch_size: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """``rows`` rows laid out in ``batch_size`` columns of neighbours; a batch is one row of each column.

    Column ``c`` has rows ``c·rows/batch_size`` to ``(c+1)·rows/batch_size``, in random sequence where there is an ``rng``. So whoever
    learns from neighbouring columns (one of several devices, or of processes) needs a run of neighbouring rows and no others, and the
    batches are the same however many there are. Columns differ in length by one row at most; a row of the column at weight zero fills
    it up.

    Returns:
        int64 ``(batches, batch_size)``, entries as in every order.

    Example:
        >>> columns(5, 2).tolist()
        [[0, 2], [1, 3], [-1, 4]]
    """
    bounds = np.arange(batch_size + 1) * rows // batch_size
    first, length = bounds[:-1], np.diff(bounds)
    place = np.arange(num_batches(rows, batch_size))[:, None]
    sequence = np.where(place < length, place, place - length)
    if rng is not None:
        keys = np.where(place < length, rng.random(sequence.shape), 1.0)
        sequence = np.argsort(keys, axis=0, kind="stable")
        sequence = np.where(place < length, sequence, sequence[0])
    entries = np.minimum(
        first + sequence, rows - 1
    )  # where there are more columns than rows, some have none of their own
    return np.where(place < length, entries, ~entries)


def even_batches(rows: int, largest: int) -> list[tuple[int, np.ndarray]]:
    """``rows`` rows in a fixed random sequence, divided into the fewest batches of at most ``largest``, which differ by at most one row.

    Returns:
        Pairs of a batch size and the order of all batches of that size.

    >>> [(size, order.size) for size, order in even_batches(100, 32)]
    [(25, 100)]
    >>> [(size, order.size) for size, order in even_batches(33, 32)]
    [(17, 17), (16, 16)]
    """
    order = rng_for(0).permutation(rows).astype(np.int32)
    size, larger = divmod(rows, num_batches(rows, largest)) if rows else (0, 0)
    cut = larger * (size + 1)
    return [(n, part) for n, part in ((size + 1, order[:cut]), (size, order[cut:])) if part.size]


def pad_rows(tree: Any, rows: int, *, to: int | None = None) -> Any:
    """Every array of ``tree`` lengthened from ``rows`` to ``to`` rows (default ``capacity(rows)``) with zeros."""
    target = capacity(rows) if to is None else to

    def pad(array: np.ndarray) -> np.ndarray:
        if target == rows:
            return array
        out = np.zeros((target, *array.shape[1:]), array.dtype)
        out[:rows] = array
        return out

    return jax.tree.map(pad, tree)


def gather(chunk: Any, order: jax.Array, batch: jax.Array | int, batch_size: int) -> tuple[Any, jax.Array]:
    """Batch number ``batch`` of ``order``: the rows, and a float32 mask that is 0 for entries of weight zero.

    Of a chunk that is divided among devices, row ``r`` is row ``r mod k`` of the ``k`` that lie here.
    """
    entries = jax.lax.dynamic_slice_in_dim(order, batch * batch_size, batch_size)
    rows = jnp.where(entries >= 0, entries, ~entries)
    rows = jax.lax.rem(rows, jnp.full_like(rows, jax.tree.leaves(chunk)[0].shape[0]))
    taken = jax.tree.map(lambda array: array.at[rows].get(mode="promise_in_bounds"), chunk)
    return taken, (entries >= 0).astype(jnp.float32)


def check_order(order: Sequence[int] | np.ndarray, rows: int) -> np.ndarray:
    """``order`` as int32, every entry a row of the chunk.

    Raises:
        DataError: an entry that is not a row number.
    """
    from danlu.errors import DataError

    array = np.asarray(order)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise DataError(f"an order has shape {array.shape} and dtype {array.dtype}; expected a vector of row numbers")
    array = array.astype(np.int64) if array.size == 0 else array  # an empty list has no dtype of its own
    rows_named = np.where(array >= 0, array, ~array)
    if array.size and rows_named.max() >= rows:
        raise DataError(f"an order names row {int(rows_named.max())}; the data has {rows} rows")
    return array.astype(np.int32)
