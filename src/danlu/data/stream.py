"""Tables larger than memory: Parquet files in chunks of equal size, split, encoded and shuffled in a way that can be replayed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.data.describe import infer_schema, told_of
from danlu.data.encode import TableEncoder
from danlu.data.missing import Marks
from danlu.data.parquet import ParquetRows
from danlu.data.partition import PARTS, Partition
from danlu.data.schema import Schema
from danlu.data.share import Chunked, Portion, whole
from danlu.data.survey import count_parts, draw_sample, keep_twins, rows_of_part, survey_target
from danlu.data.target import TargetEncoder
from danlu.data.task import InferredTask, drop_missing_target
from danlu.data.threads import ordered
from danlu.errors import ConfigError, DataError, unknown_name

__all__ = ["EncodedStream", "TableStream", "open_stream", "sample_size"]

_MIX = 4  # runs of neighbours that are read together
_LANES = 12  # that 2, 3, 4, 6 or 12 processes divide without a rest
_READ_BYTES = 64 * 2**20
_CHUNK_BYTES, _CHUNK_ROWS = 32 * 2**20, (1024, 65_536)
_SAMPLE_BYTES, _SAMPLE_ROWS = 64 * 2**20, (10_000, 200_000)


@dataclasses.dataclass(frozen=True, eq=False)
class TableStream:
    """A table in Parquet files, of which a few chunks are in memory at a time; :func:`open_stream` makes one.

    An epoch reads runs of neighbouring rows in random order, leaves out those of other parts, and holds as many at a time as several chunks
    need. These are cut into twelve lanes; each is shuffled, and each chunk takes as many rows of one as of another. So a chunk has rows
    from several places of a table that is sorted, and who needs a part of every chunk reads only some of the lanes. (Shuffling the rows
    within a chunk is the trainer's.) The order is a function of ``(seed, epoch)``, so a run that was stopped goes on from any chunk. Every
    chunk of an epoch has ``chunk_rows`` rows, except the last.

    Attributes:
        source: the files.
        partition: which part each row belongs to.
        target: encodes the target: the classes of all rows, or the mean and deviation of the training rows.
        inferred: the task, and why.
        schema: the columns, as inferred from the sample.
        sample: training rows, for fitting an encoder.
        chunk_rows: rows of a chunk.
        block_rows: rows of a block, of which the table is counted and sampled.
        batch_chunks: chunks whose rows are read and shuffled together.
        counts: ``(blocks, 3)`` int64, rows of each part in each block.
        seed: with the epoch, decides the order of the rows.
        notices: what the user should know.
    """

    source: ParquetRows
    partition: Partition
    target: TargetEncoder
    inferred: InferredTask
    schema: Schema
    sample: pl.DataFrame
    chunk_rows: int
    block_rows: int
    batch_chunks: int
    counts: np.ndarray
    seed: int
    notices: tuple[str, ...]

    @property
    def rows(self) -> dict[str, int]:
        """The number of rows of each part; rows without a target are among them."""
        return dict(zip(PARTS, (int(n) for n in self.counts.sum(axis=0)), strict=True))

    @property
    def split(self) -> str:
        """A sentence on how the rows are split."""
        return self.partition.description

    def train(self, encoder: TableEncoder, target: TargetEncoder | None = None) -> EncodedStream:
        """The training rows, in another order each epoch."""
        return EncodedStream(self, "train", encoder, target or self.target, shuffle=True)

    def validation(self, encoder: TableEncoder, target: TargetEncoder | None = None) -> EncodedStream:
        """The validation rows, in the order of the files."""
        return EncodedStream(self, "validation", encoder, target or self.target)

    def test(self, encoder: TableEncoder, target: TargetEncoder | None = None) -> EncodedStream:
        """The test rows, in the order of the files."""
        return EncodedStream(self, "test", encoder, target or self.target)

    def frames(self, part: str, epoch: int = 0, start: int = 0, *, shuffle: bool = False) -> Iterator[pl.DataFrame]:
        """The chunks of one part from chunk number ``start`` on, as frames of the used columns and the target; see :meth:`portions`."""
        return (frame for _, frame in self.portions(part, epoch, start, whole, shuffle=shuffle))

    def portions(
        self, part: str, epoch: int, start: int, portion: Portion, *, shuffle: bool = False
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        """Of each chunk of one part, how many rows it has, and those that ``portion`` names; lanes without any of them are not read.

        Args:
            part: ``"train"``, ``"validation"`` or ``"test"``.
            epoch: decides the order of the rows.
            start: the first chunk.
            portion: see :data:`~danlu.data.share.Portion`.
            shuffle: whether rows come in random order; otherwise rows come in the order of the files.
        """
        if part not in PARTS:
            raise unknown_name("part", part, PARTS)
        code = PARTS.index(part)
        blocks = self._order(epoch) if shuffle else np.arange(len(self.counts))
        ends = np.cumsum(self.counts[blocks, code])  # in the sequence of the epoch's rows
        size = self.batch_chunks * self.chunk_rows
        loads = range(start // self.batch_chunks * size, int(ends[-1]), size)
        lanes = _LANES if shuffle else 1

        def load(first: int) -> tuple[np.ndarray, int, pl.DataFrame]:
            """Of the chunks that begin with row ``first``: how many rows of each lane each has, the first lane wanted, the lanes' rows."""
            sizes = [
                min(self.chunk_rows, int(ends[-1]) - low)
                for low in range(first, min(first + size, int(ends[-1])), self.chunk_rows)
            ]
            shares = np.array([np.diff(np.arange(lanes + 1) * rows // lanes) for rows in sizes])  # (chunks, lanes)
            wanted = [_overlapping(each, portion(int(each.sum()))) for each in shares]
            low, high = min(span[0] for span in wanted), max(span[1] for span in wanted)
            begin = first + np.concatenate([[0], np.cumsum(shares.sum(axis=0))])
            frame = self._between(blocks, ends, code, int(begin[low]), int(begin[high]))
            if shuffle:
                places = [
                    begin[lane]
                    - begin[low]
                    + _random(self.seed, epoch, first, lane).permutation(begin[lane + 1] - begin[lane])
                    for lane in range(low, high)
                ]
                frame = frame[np.concatenate(places)]
            return shares, low, frame

        for first, (shares, low, frame) in zip(loads, ordered(load, loads, workers=1, ahead=1), strict=True):
            begin = np.cumsum(shares.sum(axis=0)) - shares.sum(axis=0)  # of the lanes in the frame and before it
            taken = np.cumsum(shares, axis=0) - shares  # rows of each lane that earlier chunks have
            for chunk in range(max(start - first // self.chunk_rows, 0), len(shares)):
                wanted, place, pieces = portion(int(shares[chunk].sum())), 0, []
                for lane, count in enumerate(shares[chunk].tolist()):
                    own = range(max(wanted.start, place), min(wanted.stop, place + count))
                    if len(own):
                        at = begin[lane] - begin[low] + taken[chunk, lane] + own.start - place
                        pieces.append(frame.slice(int(at), len(own)))
                    place += count
                yield place, pl.concat(pieces)

    def _order(self, epoch: int) -> np.ndarray:
        """All blocks: runs of neighbours in random order, as many as give a load rows of several places."""
        length = max(self.batch_chunks * self.chunk_rows // _MIX // self.block_rows, 1)
        runs = _random(self.seed, epoch).permutation(-(-len(self.counts) // length))
        blocks = (runs[:, None] * length + np.arange(length)).ravel()  # (runs, length) in a line
        return blocks[blocks < len(self.counts)]

    def _between(self, blocks: np.ndarray, ends: np.ndarray, code: int, begin: int, stop: int) -> pl.DataFrame:
        """Rows ``begin`` to ``stop`` of a part, as the blocks come; neighbouring blocks are read at once."""
        names = [*(column.name for column in self.schema.features), self.target.name]
        first, last = np.searchsorted(ends, [begin, stop - 1], side="right").tolist()
        own = blocks[first : last + 1]
        runs = np.split(own, np.flatnonzero(np.diff(own) != 1) + 1)
        rows = self.block_rows
        read = [
            rows_of_part(self.source, self.partition, int(run[0]) * rows, len(run) * rows, code, names) for run in runs
        ]
        return pl.concat(read).slice(begin - int(ends[first] - self.counts[own[0], code]), stop - begin)

    def __repr__(self) -> str:
        rows = ", ".join(f"{count:,} {part}" for part, count in self.rows.items())
        return f"TableStream({self.source.name!r}: {rows} rows; chunks of {self.chunk_rows:,})"


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedStream(Chunked):
    """The chunks of one part of a :class:`TableStream` as the trainer takes them: ``{"x", "y", "weight"}`` of NumPy arrays.

    A row without a target keeps its place, with weight 0.

    Attributes:
        stream: the table.
        part: ``"train"``, ``"validation"`` or ``"test"``.
        encoder: encodes the used columns.
        target: encodes the target.
        shuffle: whether the order changes from epoch to epoch.
    """

    stream: TableStream
    part: str
    encoder: TableEncoder
    target: TargetEncoder
    shuffle: bool = False

    @property
    def rows(self) -> int:
        """How many rows an epoch has, those without a target included."""
        return self.stream.rows[self.part]

    @property
    def num_chunks(self) -> int:
        """How many chunks an epoch has."""
        return -(-self.rows // self.stream.chunk_rows)

    def portions(self, epoch: int, start: int, portion: Portion) -> Iterator[tuple[int, dict[str, Any]]]:
        """The encoded rows of each chunk that ``portion`` names; see :class:`~danlu.data.share.Chunked`."""
        for rows, frame in self.stream.portions(self.part, epoch, start, portion, shuffle=self.shuffle):
            yield rows, self._encoded(frame)

    def arrays(self, *, limit: int | None = None) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """``(x, y)`` of the rows that have a target, in memory: all of them, or ``limit`` from random blocks.

        Raises:
            DataError: the part has no such row.
        """
        chosen = limit is not None and limit < self.rows
        pieces: list[dict[str, Any]] = []
        for frame in self.stream.frames(self.part, shuffle=chosen):
            frame = drop_missing_target(frame, self.target.name)[0]
            if limit is not None:
                frame = frame.head(limit - sum(len(piece["y"]) for piece in pieces))
            if frame.height:
                pieces.append(self._encoded(frame))
            if limit is not None and sum(len(piece["y"]) for piece in pieces) >= limit:
                break
        if not pieces:
            raise DataError(f"the {self.part} part of {self.stream.source.name} has no row with a target")
        x = {name: np.concatenate([piece["x"][name] for piece in pieces]) for name in pieces[0]["x"]}
        return x, np.concatenate([piece["y"] for piece in pieces])

    def _encoded(self, frame: pl.DataFrame) -> dict[str, Any]:
        values = frame[self.target.name]
        known = values.is_not_null().to_numpy()
        y = np.zeros(len(known), np.float32 if self.target.task == "regression" else np.int32)
        y[known] = self.target.transform(values.drop_nulls())
        return {"x": self.encoder.transform(frame), "y": y, "weight": known.astype(np.float32)}


def _overlapping(sizes: np.ndarray, wanted: slice) -> tuple[int, int]:
    """Which of neighbouring lots of some sizes have rows among those wanted: the first, and the one after the last."""
    ends = np.cumsum(sizes)
    low, last = np.searchsorted(ends, [wanted.start, wanted.stop - 1], side="right").tolist()
    return low, last + 1


def _random(*words: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([word & 0xFFFFFFFF for word in words])))


def sample_size(width: float) -> int:
    """How many rows of so many bytes each a sample of a table has: about 64 MiB, 10,000 to 200,000 rows."""
    return int(np.clip(_SAMPLE_BYTES / max(width, 1.0), *_SAMPLE_ROWS))


def open_stream(
    source: str | Path | Sequence[str | Path],
    *,
    target: str,
    task: str | None = None,
    kinds: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    method: str = "random",
    column: str | None = None,
    validation: float = 0.15,
    test: float = 0.2,
    seed: int = 0,
    chunk_rows: int | None = None,
    sample_rows: int | None = None,
    merge: bool = False,
    missing: Marks = (),
    twins: bool = False,
) -> TableStream:
    """Open Parquet files for training without holding them in memory.

    The schema is inferred from a sample of the training rows, the classes of the target are collected from all rows, and
    the mean and deviation of a quantity from all training rows.

    Args:
        source: a Parquet file, a folder of them, a pattern or several files (see :class:`~danlu.data.parquet.ParquetRows`);
            write delimited text to Parquet with :func:`danlu.data.to_parquet` first.
        target: the column to predict.
        task, kinds, drop: as for :func:`danlu.data.infer_task` and :func:`danlu.data.infer_schema`.
        method, column, validation, test: how rows are divided, as for :func:`danlu.data.split_rows`, except that rows are
            dealt out one by one, so that the shares are met on average, and that ``"stratified"`` is ``"random"``.
        seed: decides the split, the sample and the order of training.
        chunk_rows: rows of a chunk, >= 1; None takes about 32 MiB, at most 65,536 rows.
        missing: texts and numbers that stand for a missing value, for all columns or by column.
        sample_rows: rows of the sample, >= 1; None takes about 64 MiB, at most 200,000 rows.
        merge: as for :func:`danlu.data.infer_schema`.
        twins: whether rows that are equal but for the target are kept in one part, where rows are drawn at random; all columns are
            then read once more.

    Raises:
        DataError: files that cannot be read, a target or a split that cannot be used.
        ConfigError: an unknown task, kind or method, or a number out of range.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp(), "table.parquet")
        >>> pl.DataFrame({"x": [float(i) for i in range(100)], "y": ["a", "b"] * 50}).write_parquet(path)
        >>> stream = open_stream(path, target="y", chunk_rows=32)
        >>> encoder = TableEncoder.fit(stream.sample, stream.schema)
        >>> stream.rows, [len(chunk["y"]) for chunk in stream.train(encoder).chunks(0, 0)]
        ({'train': 68, 'validation': 20, 'test': 12}, [32, 32, 4])
    """
    for name, value in (("chunk_rows", chunk_rows), ("sample_rows", sample_rows)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ConfigError(f"{name} is {value!r}; expected a whole number >= 1")
    partition = Partition("random" if method == "stratified" else method, column, validation, test, seed)
    rows = ParquetRows(source, missing=missing)
    for wanted in (target, column) if partition.reads_column else (target,):
        if wanted not in rows.types:
            raise unknown_name("column", wanted, rows.types, error=DataError)
    head = rows.read(0, 1024)
    width = max(head.estimated_size() / head.height, 1.0)
    if chunk_rows is None:
        chunk_rows = int(np.clip(_CHUNK_BYTES / width, *_CHUNK_ROWS))
    if sample_rows is None:
        sample_rows = sample_size(width)
    block_rows = max(chunk_rows // _MIX, 1)
    told: list[str] = []
    if twins and partition.method == "random":
        partition, told = keep_twins(rows, partition, target, drop)
    partition, counts = count_parts(rows, partition, block_rows)
    if not counts[:, 0].any():
        raise DataError(f"the split left no rows of {rows.name} to train on")
    inferred, encoder, notices = survey_target(rows, partition, target, task)
    notices += [*rows.notices, *told]
    sample = draw_sample(rows, partition, block_rows, counts, sample_rows, seed)
    drawn, total = sample.height, int(counts[:, 0].sum())
    sample, _ = drop_missing_target(sample, target)
    if not sample.height:
        raise DataError(f"the sampled training rows of {rows.name} have no value for the target {target!r}")
    if partition.method in ("group", "column") and column not in (None, *drop):
        drop = (*drop, str(column))
        notices.append(f"column {column!r} defines the split and is not used as an input")
    schema = infer_schema(sample, target=target, kinds=kinds, drop=drop, formats=rows.formats, merge=merge)
    notices += told_of(sample, schema)
    if drawn < total:
        notices.append(
            f"the schema and the encoder were fitted to a sample of {drawn:,} of the {total:,} training rows"
        )
    return TableStream(
        rows,
        partition,
        encoder,
        inferred,
        schema,
        sample,
        chunk_rows,
        block_rows,
        max(int(_READ_BYTES / width) // chunk_rows, 1),
        counts,
        seed,
        tuple(notices),
    )
