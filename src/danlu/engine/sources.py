"""Where batches come from: arrays, an iterable of batches, or a stream of chunks. All three are sequences of chunks.

A source yields *pieces*: a chunk (arrays with a leading row axis) and the order in which its rows are visited. Arrays are
one piece that stays on the device; an iterable is one piece a batch; a stream of a table larger than memory is one piece a
chunk. Every piece of a source has the same shapes, so one compiled program serves them all.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from danlu.engine.arrays import as_arrays, rows_of, shapes_of
from danlu.engine.mesh import joined, own_parts
from danlu.engine.order import (
    Sampler,
    capacity,
    check_order,
    columns,
    num_batches,
    pad_order,
    pad_rows,
    rng_for,
    shuffled,
)
from danlu.engine.prefetch import prefetch
from danlu.errors import DataError, TrainingError

__all__ = ["ArraySource", "BatchSource", "ChunkSource", "Piece", "SharedSource", "Source", "as_source"]


class Piece(NamedTuple):
    """A chunk, the order of its rows, how many batches that order has, and the rows of a batch.

    In a population ``order`` has a leading member axis. The rows of a ``divided`` chunk lie on several devices, an equal number on each;
    every device has those that its parts of the batches are made of.
    """

    chunk: dict[str, Any]
    order: Any
    steps: int
    batch_size: int
    divided: bool = False


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

    A chunk's rows are visited in columns of neighbours (see :func:`~danlu.engine.order.columns`), so the batches are the same whether one
    process reads the chunk or each of several its own part of it; see :meth:`divided`.

    Args:
        stream: an object with ``chunks(epoch, start)``; where it also has ``portions(epoch, start, portion)``, rows that are not wanted
            here are not read (see ``danlu.data.share``).
        batch_size: rows a step.
        seed: decides the sequence of rows within a chunk (the stream decides that of the chunks).
        shuffle: whether rows are shuffled within their chunk.

    Attributes:
        parts: among how many devices the rows of each batch are divided.
        own: the parts that this process reads.
    """

    def __init__(self, stream: Chunks, *, batch_size: int, seed: int = 0, shuffle: bool = True) -> None:
        self.stream, self.batch_size, self.seed, self.shuffle = stream, batch_size, seed, shuffle
        self._check: Check = _no_check
        first = next(self._portions(0, 0, lambda rows: slice(0, 1)), None)
        if first is None:
            raise DataError("the stream gave no rows")
        self.in_shape = shapes_of(first[1]["x"])
        self.rows = first[0]
        self.members = None
        self.steps_per_epoch: int | None = None
        self.parts, self.own = 1, range(1)

    def divided(self, parts: int, own: range | None = None) -> ChunkSource:
        """The same batches, of which this process reads and keeps only what its own parts are made of.

        Args:
            parts: among how many devices the rows of a batch are divided, evenly.
            own: those of this process, neighbours; None asks JAX which devices are its own.
        """
        new = copy.copy(self)
        new.parts, new.own = parts, own_parts(parts) if own is None else own
        return new

    def check_with(self, check: Check) -> None:
        """Run ``check`` on each chunk before it is used."""
        self._check = check

    def _portions(
        self, epoch: int, start: int, portion: Callable[[int], slice]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        if hasattr(self.stream, "portions"):
            yield from self.stream.portions(epoch, start, portion)
            return
        for chunk in self.stream.chunks(epoch, start):
            rows = rows_of(chunk["x"], "x")
            wanted = portion(rows)
            yield rows, jax.tree.map(lambda array, wanted=wanted: array[wanted], chunk)

    def _part(self, number: int, rows: int) -> tuple[int, int]:
        """Where the rows of a part begin and end; it has one at least, which may be another's."""
        first = min(number * rows // self.parts, rows - 1)
        return first, max((number + 1) * rows // self.parts, first + 1)

    def _order(self, rows: int, rng: np.random.Generator | None, room: int) -> np.ndarray:
        """The order of a chunk whose parts lie ``room`` rows apart."""
        entries = columns(rows, self.batch_size, rng)
        part = np.arange(self.batch_size) * self.parts // self.batch_size
        first, stop = np.array([self._part(number, rows) for number in range(self.parts)]).T[:, part]
        found = np.clip(np.where(entries < 0, ~entries, entries), first, stop - 1) - first + part * room
        order: np.ndarray = np.where(entries < 0, ~found, found)
        return order.ravel()  # (batches, batch_size) in a line

    def lots(self, epoch: int, start: int) -> Iterator[tuple[list[dict[str, Any]], np.ndarray, int]]:
        """What :meth:`pieces` lays out, while it is still on the host: of each chunk this process's parts, its order, and its batches.

        Row ``r`` of a part is row ``part·room + r`` of the order, where a part has ``room`` rows, of which the last ones may be empty.
        """
        room = capacity(-(-capacity(self.rows) // self.parts))
        longest = num_batches(capacity(self.rows), self.batch_size) * self.batch_size

        def portion(rows: int) -> slice:
            return slice(self._part(self.own[0], rows)[0], self._part(self.own[-1], rows)[1])

        def lot(chunk: dict[str, Any], rows: int, number: int) -> Any:
            here, (first, stop) = portion(rows).start, self._part(number, rows)
            return pad_rows(jax.tree.map(lambda array: array[first - here : stop - here], chunk), stop - first, to=room)

        for number, (rows, chunk) in enumerate(self._portions(epoch, start, portion), start):
            if rows > capacity(self.rows):
                raise DataError(f"chunk {number} has {rows} rows, more than the first one's {capacity(self.rows)}")
            self._check(chunk)
            order = self._order(rows, rng_for(self.seed, epoch, number) if self.shuffle else None, room)
            padded = np.full(longest, -1, np.int32)
            padded[: order.size] = order
            yield [lot(chunk, rows, each) for each in self.own], padded, num_batches(rows, self.batch_size)

    def pieces(self, epoch: int, start: int) -> Iterator[Piece]:
        """A piece for each chunk of the stream, read ahead while the one before is trained on."""
        for lots, order, steps in prefetch(self.lots(epoch, start)):
            if self.parts == 1:
                chunk = jax.device_put(lots[0])
            else:
                chunk = joined(jax.tree.map(lambda *arrays: np.concatenate(arrays), *lots), self.parts)
            yield Piece(chunk, jax.device_put(order), steps, self.batch_size, self.parts > 1)


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
