"""Where batches come from: arrays, an iterable of batches, or a stream of chunks. All three are sequences of chunks.

A source yields *pieces*: a chunk (arrays with a leading row axis) and the order in which its rows are visited. Arrays are
one piece that stays on the device; an iterable is one piece a batch; a stream of a table larger than memory is one piece a
chunk. Every piece of a source has the same shapes, so one compiled program serves them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from danlu.engine.arrays import as_arrays, rows_of, shapes_of
from danlu.engine.order import Sampler, capacity, check_order, num_batches, pad_order, pad_rows, rng_for, shuffled
from danlu.engine.prefetch import prefetch
from danlu.errors import DataError, TrainingError

__all__ = ["ArraySource", "BatchSource", "ChunkSource", "Piece", "SharedSource", "Source", "as_source"]


class Piece(NamedTuple):
    """A chunk, the order of its rows, how many batches that order has, and the rows of a batch.

    In a population ``order`` has a leading member axis.
    """

    chunk: dict[str, Any]
    order: Any
    steps: int
    batch_size: int


Check = Callable[[dict[str, Any]], None]
"""What looks at a chunk ``{"x", "y", "weight"}`` of NumPy arrays and raises what is wrong with it."""


def _no_check(chunk: dict[str, Any]) -> None:
    """The check before there is one."""


class Source(Protocol):
    """The base of the trainer's sources of batches."""

    in_shape: Any
    steps_per_epoch: int | None

    def pieces(self, epoch: int, start: int) -> Iterator[Piece]:
        """The pieces of ``epoch`` from number ``start`` on; the same call gives the same pieces."""
        ...

    def check_with(self, check: Check) -> None:
        """Run ``check`` on the chunks on the host: on arrays now, on a stream's chunks as each arrives."""
        ...


@runtime_checkable
class Chunks(Protocol):
    """A table in chunks of equal size: what :class:`ChunkSource` reads (``danlu.data`` has one for Parquet)."""

    def chunks(self, epoch: int, start: int) -> Iterator[dict[str, Any]]:
        """Dicts of NumPy arrays ``{"x", "y", "weight"}``, from chunk ``start`` of ``epoch`` on."""
        ...


class ArraySource:
    """Arrays on the device: one piece per epoch.

    Args:
        data: ``(x, y)`` or ``(x, y, weight)``; a chunk from :func:`as_arrays` is taken as it is.
        batch_size: rows a step.
        seed: decides the sequence of rows; a sequence of seeds gives one order for each member of a population.
        sampler: which rows an epoch visits (default: each once, shuffled); for a population one for each member.
    """

    def __init__(
        self,
        data: Any,
        *,
        batch_size: int,
        seed: int | Sequence[int] = 0,
        sampler: Sampler | Sequence[Sampler] | None = None,
    ) -> None:
        chunk = data if isinstance(data, dict) and set(data) == {"x", "y", "weight"} else as_arrays(data)
        self.rows = rows_of(chunk["x"], "x")
        self.in_shape = shapes_of(chunk["x"])
        self.chunk = jax.device_put(pad_rows(chunk, self.rows))
        shapes = jax.eval_shape(lambda x: x, chunk["x"])  # a check of targets may ask what the outputs look like
        self._labels = {"x": shapes, "y": chunk["y"], "weight": chunk["weight"]}
        self.batch_size = batch_size
        self.members = None if isinstance(seed, int) else len(seed)
        self.seeds = [seed] if isinstance(seed, int) else list(seed)
        samplers = sampler if isinstance(sampler, Sequence) else [sampler or shuffled(self.rows)] * len(self.seeds)
        if len(samplers) != len(self.seeds):
            raise DataError(f"{len(samplers)} samplers for {len(self.seeds)} members; expected one for each")
        self.samplers = samplers
        sizes = [order.size for order in self._orders(0)]
        self.fewest = min(sizes)
        self.steps_per_epoch: int | None = num_batches(max(sizes), batch_size)

    def check_with(self, check: Check) -> None:
        """Run ``check`` on the targets, the weights and the inputs' shapes."""
        shape = lambda a: jax.ShapeDtypeStruct((self.rows, *a.shape[1:]), a.dtype)  # noqa: E731
        check({**self._labels, "x": jax.tree.map(shape, self.chunk["x"])})

    def _orders(self, epoch: int) -> list[np.ndarray]:
        drawn = [s(epoch, rng_for(seed, epoch)) for s, seed in zip(self.samplers, self.seeds, strict=True)]
        return [check_order(order, self.rows) for order in drawn]

    def pieces(self, epoch: int, start: int) -> Iterator[Piece]:
        """One piece: the arrays, which stay on the device, in this epoch's order."""
        if start > 0:
            return
        orders = self._orders(epoch)
        length = max(order.size for order in orders)
        padded = np.stack([pad_order(order, self.batch_size, length=length) for order in orders])
        order = padded[0] if self.members is None else padded
        yield Piece(self.chunk, jax.device_put(order), num_batches(length, self.batch_size), self.batch_size)


class BatchSource:
    """Any iterable of batches ``(x, y)`` or ``(x, y, weight)``; each is one step.

    The first batch sets the size; a smaller one (the ragged last) is filled up with rows of weight zero. The iterable is
    started anew for each epoch, so it must be one that can be (a list, a loader), or a function that returns an iterator.
    """

    def __init__(self, batches: Iterable[Any] | Callable[[], Iterator[Any]], *, batch_size: int | None = None) -> None:
        self._batches = batches
        self._check: Check = _no_check
        first = next(iter(self._start()), None)
        if first is None:
            raise DataError(
                "the iterable gave no batch", hint="an iterator can be used once; pass a list or a function"
            )
        if iter(self._start()) is batches:
            raise DataError(
                "the data is an iterator, which can be used only once; training needs it in each epoch",
                hint="pass a list, a loader object, or a function that returns a new iterator",
            )
        chunk = as_arrays(first)
        self.batch_size = batch_size or rows_of(chunk["x"], "x")
        self.in_shape = shapes_of(chunk["x"])
        self.members = None
        self.steps_per_epoch: int | None = len(batches) if hasattr(batches, "__len__") else None  # type: ignore[arg-type]

    def check_with(self, check: Check) -> None:
        """Run ``check`` on each batch before it is used."""
        self._check = check

    def _start(self) -> Iterator[Any]:
        return self._batches() if callable(self._batches) else iter(self._batches)

    def pieces(self, epoch: int, start: int) -> Iterator[Piece]:
        """A piece for each batch of the iterable."""
        room = capacity(self.batch_size)
        for number, batch in enumerate(self._start()):
            if number < start:
                continue
            chunk = as_arrays(batch)
            rows = rows_of(chunk["x"], "x")
            if rows > self.batch_size:
                raise DataError(
                    f"batch {number} has {rows} rows, more than the first one's {self.batch_size}",
                    hint="yield batches of one size; only the last may be smaller",
                )
            if shapes_of(chunk["x"]) != self.in_shape:
                raise DataError(f"batch {number} has rows of shape {shapes_of(chunk['x'])}; expected {self.in_shape}")
            self._check(chunk)
            order = pad_order(np.arange(rows), self.batch_size, length=self.batch_size)
            yield Piece(jax.device_put(pad_rows(chunk, rows, to=room)), jax.device_put(order), 1, self.batch_size)


class ChunkSource:
    """A table in chunks, for data larger than memory: one piece per chunk, the next one read while this one trains.

    Args:
        stream: an object with ``chunks(epoch, start)``.
        batch_size: rows a step.
        seed: decides the sequence of rows within a chunk (the stream decides that of the chunks).
        shuffle: whether rows are shuffled within their chunk.
    """

    def __init__(self, stream: Chunks, *, batch_size: int, seed: int = 0, shuffle: bool = True) -> None:
        self.stream, self.batch_size, self.seed, self.shuffle = stream, batch_size, seed, shuffle
        self._check: Check = _no_check
        first = next(iter(stream.chunks(0, 0)), None)
        if first is None:
            raise DataError("the stream gave no rows")
        self.in_shape = shapes_of(first["x"])
        self.room = capacity(rows_of(first["x"], "x"))
        self.members = None
        self.steps_per_epoch: int | None = None

    def check_with(self, check: Check) -> None:
        """Run ``check`` on each chunk before it is used."""
        self._check = check

    def pieces(self, epoch: int, start: int) -> Iterator[Piece]:
        """A piece for each chunk of the stream, read ahead while the one before is trained on."""
        for number, chunk in enumerate(prefetch(self.stream.chunks(epoch, start)), start):
            rows = rows_of(chunk["x"], "x")
            if rows > self.room:
                raise DataError(f"chunk {number} has {rows} rows, more than the first one's {self.room}")
            self._check(chunk)
            order = rng_for(self.seed, epoch, number).permutation(rows) if self.shuffle else np.arange(rows)
            padded = pad_order(order, self.batch_size, length=self.room)
            on_device = jax.device_put(pad_rows(chunk, rows, to=self.room))
            yield Piece(on_device, jax.device_put(padded), num_batches(rows, self.batch_size), self.batch_size)


class SharedSource:
    """A stream for a population, all of whose members visit the same rows in the same order.

    Args:
        source: the stream, or the iterable of batches.
        members: how many.
    """

    def __init__(self, source: ChunkSource | BatchSource, members: int) -> None:
        self.source, self.members = source, members
        self.in_shape, self.batch_size = source.in_shape, source.batch_size
        self.steps_per_epoch: int | None = source.steps_per_epoch

    def check_with(self, check: Check) -> None:
        """Run ``check`` as the stream does."""
        self.source.check_with(check)

    def pieces(self, epoch: int, start: int) -> Iterator[Piece]:
        """The stream's pieces, their order once for each member."""
        for piece in self.source.pieces(epoch, start):
            order = np.asarray(piece.order)
            yield piece._replace(order=jax.device_put(np.broadcast_to(order, (self.members, order.size))))


def as_source(data: Any, *, batch_size: int, seed: int | Sequence[int], sampler: Sampler | None = None) -> Source:
    """The source for the user's data: arrays, a stream of chunks, or an iterable of batches.

    Args:
        seed: decides the sequence of rows; of arrays one for each member of a population.
    """
    if isinstance(data, ArraySource | BatchSource | ChunkSource):
        return data
    if isinstance(data, dict) and set(data) == {"x", "y", "weight"}:
        return ArraySource(data, batch_size=batch_size, seed=seed, sampler=sampler)
    if isinstance(data, tuple) and len(data) in (2, 3):
        return ArraySource(data, batch_size=batch_size, seed=seed, sampler=sampler)
    if sampler is not None:
        raise TrainingError("a sampler chooses rows of arrays; an iterable or stream of batches chooses its own")
    if isinstance(data, Chunks):
        return ChunkSource(data, batch_size=batch_size, seed=seed if isinstance(seed, int) else seed[0])
    if callable(data) or hasattr(data, "__iter__"):
        return BatchSource(data)
    raise DataError(
        f"the data is a {type(data).__name__}; expected (x, y), (x, y, weight), an iterable of such batches, or a stream"
    )
