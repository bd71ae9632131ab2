"""Several processes read a stream: each only its share, together every row once, in the batches that one process would have."""

from __future__ import annotations

import dataclasses
import itertools
import operator

import jax
import numpy as np
import polars as pl
import pytest
from PIL import Image

from danlu.data import TableEncoder, open_stream
from danlu.data.images.stream import PixelStream
from danlu.data.share import whole
from danlu.data.text import Buckets, PairTokens, Tokens, Windows
from danlu.engine import ChunkSource
from danlu.engine.order import columns, rng_for

BATCH = 12  # of 1, 2, 3 and 4 parts


class Own:
    """A stream of a user's own, which knows nothing of shares."""

    def chunks(self, epoch, start):
        for number in range(start, 3):
            rows = (20, 20, 5)[number]
            yield {"x": np.arange(rows) + 100 * number + 1000 * epoch, "y": np.arange(rows), "weight": np.ones(rows)}


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    folder = tmp_path_factory.mktemp("share")
    rng = np.random.default_rng(0)
    table = pl.DataFrame({"n": rng.normal(size=400), "city": rng.choice(["Bern", "Oslo"], 400), "y": [0, 1] * 200})
    for number in range(4):
        table[number * 100 : number * 100 + 100].write_parquet(folder / f"part-{number}.parquet", row_group_size=30)
    opened = dataclasses.replace(open_stream(folder, target="y", chunk_rows=64), batch_chunks=2)
    files = []
    for number in range(31):
        files.append(folder / f"{number}.png")
        Image.fromarray(rng.integers(0, 255, (4, 4, 3), np.uint8)).save(files[-1])

    def load(row):
        return np.asarray(Image.open(files[row])), np.int32(row)

    text = Tokens(np.arange(700), np.array([0, 700]), 699)
    pairs = [tuple(rng.integers(4, 99, n) for n in rng.integers(1, 9, 50)) for _ in range(2)]
    return {
        "table": opened.train(TableEncoder.fit(opened.sample, opened.schema)),
        "images": PixelStream(load, np.arange(31), chunk_rows=16, seed=3),
        "tokens": Windows(text, 8, seed=1, multiple=BATCH),
        "pairs": Buckets(PairTokens(*pairs), (4, 9), batch_size=BATCH),
        "own": Own(),
    }


def batches(stream, parts: int, own: range, epoch: int, start: int = 0):
    """Of each batch, what each of the parts in ``own`` gets: ``(tree of rows, weights)``."""
    for lots, order, steps in ChunkSource(stream, batch_size=BATCH, seed=5).divided(parts, own).lots(epoch, start):
        room = len(lots[0]["weight"])
        for entries in order[: steps * BATCH].reshape(steps, parts, BATCH // parts):
            row = np.where(entries < 0, ~entries, entries)
            assert (row // room == np.arange(parts)[:, None]).all(), "a part has rows of another"
            for lot, number in zip(lots, own, strict=True):
                taken = {key: jax.tree.map(operator.itemgetter(row[number] % room), lot[key]) for key in lot}
                yield {**taken, "weight": taken["weight"] * (entries[number] >= 0)}


def equal(one, other) -> None:
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["table", "images", "tokens", "pairs", "own"])
def test_the_shares_together_are_the_whole_to_the_bit(streams, kind) -> None:
    stream = streams[kind]
    for epoch, start in ((0, 0), (2, int(kind != "tokens"))):  # the tokens are one chunk
        alone = list(batches(stream, 1, range(1), epoch, start))
        assert alone
        for parts in (2, 3):
            shares = [list(batches(stream, parts, range(rank, rank + 1), epoch, start)) for rank in range(parts)]
            for expected, *found in zip(alone, *shares, strict=True):
                real = expected["weight"] > 0
                together = jax.tree.map(lambda *each: np.concatenate(each), *found)
                np.testing.assert_array_equal(together["weight"], expected["weight"])
                equal(*(jax.tree.map(lambda a, real=real: a[real], each) for each in (together, expected)))
        if kind == "table":  # the others are quick
            return
        each = [list(batches(stream, 4, range(rank, rank + 1), epoch, start)) for rank in (0, 1)]
        both = list(batches(stream, 4, range(2), epoch, start))  # a process with two devices
        equal(both, [batch for pair in zip(*each, strict=True) for batch in pair])


@pytest.mark.parametrize("kind", ["table", "images", "tokens", "pairs"])
def test_every_row_comes_once_an_epoch_and_epochs_differ(streams, kind) -> None:
    def seen(epoch):
        rows = []
        for batch in batches(streams[kind], 1, range(1), epoch):
            parts = [np.asarray(leaf).reshape(BATCH, -1) for leaf in jax.tree.leaves((batch["x"], batch["y"]))]
            rows += [b"".join(part[row].tobytes() for part in parts) for row in np.flatnonzero(batch["weight"])]
        return rows

    whole_chunks = streams[kind].chunks(0, 0)
    assert len(seen(0)) == sum(int((chunk["weight"] > 0).sum()) for chunk in whole_chunks)
    assert seen(0) == seen(0) != seen(1)
    if kind in ("table", "images"):
        assert len(set(seen(0))) == len(seen(0))
        assert set(seen(0)) == set(seen(1))


def test_what_is_not_wanted_is_not_read(streams, monkeypatch) -> None:
    images, opened = streams["images"], []
    shared = PixelStream(lambda row: opened.append(row) or images.load(row), images.places, chunk_rows=16, seed=3)
    list(shared.portions(0, 0, lambda rows: slice(0, rows // 2)))
    assert len(opened) == 8 + 7
    table, read = streams["table"].stream, []
    real = type(table.source).read
    monkeypatch.setattr(type(table.source), "read", lambda self, *a, **k: read.append(a[1]) or real(self, *a, **k))
    total = {}
    for name, portion in {"half": lambda rows: slice(0, rows // 2), "whole": whole}.items():
        read.clear()
        list(table.portions("train", 1, 0, portion, shuffle=True))
        total[name] = sum(read)
    assert total["half"] < 0.8 * total["whole"] < 1.5 * table.source.rows  # a block at the seam of two is read for both


@pytest.mark.parametrize(("rows", "size"), [(50, 8), (16, 8), (3, 8), (1, 4), (1000, 7)])
def test_columns_visit_every_row_once_and_fill_up_with_their_own(rows, size) -> None:
    for rng in (None, rng_for(0, 1)):
        entries = columns(rows, size, rng)
        assert entries.shape == (-(-rows // size), size)
        assert sorted(entries[entries >= 0]) == list(range(rows))
        for c in range(size):
            own = entries[:, c]
            kept = own[own >= 0]
            assert len(kept) in (rows // size, -(-rows // size))
            assert len(kept) == 0 or {~e for e in own if e < 0} <= set(kept)
    spread = columns(1000, 10, rng_for(1))
    assert all(np.diff(np.sort(batch)).max() < 200 for batch in spread), "a batch has rows of every place"
    assert (np.diff(spread, axis=0) != 1).any()


def test_parts_of_a_ragged_end_have_a_row_each() -> None:
    class One:
        def chunks(self, epoch, start):
            yield {"x": np.array([[7.0]]), "y": np.array([1]), "weight": np.ones(1, np.float32)}

    found = [next(batches(One(), 4, range(rank, rank + 1), 0)) for rank in range(4)]
    assert all((part["x"] == 7.0).all() for part in found)
    assert sum(part["weight"].sum() for part in found) == 1


def test_shares_of_devices_lie_on_them(streams) -> None:
    if len(jax.devices()) < 2:
        pytest.skip("one device")
    one = ChunkSource(streams["own"], batch_size=BATCH)
    two = one.divided(2)
    for a, b in itertools.islice(zip(one.pieces(0, 0), two.pieces(0, 0), strict=True), 2):
        assert (a.divided, b.divided) == (False, True)
        assert {shard.data.shape[0] for shard in b.chunk["x"].addressable_shards} == {len(b.chunk["x"]) // 2}
        x, y = (np.asarray(p.chunk["x"])[np.asarray(p.order)[: p.steps * BATCH]] for p in (a, b))
        real = np.asarray(a.order)[: a.steps * BATCH] >= 0
        np.testing.assert_array_equal(x[real], y[real])
