"""Rows, images and tokens a second from disk to batches, beside Grain and PyTorch's DataLoader with as many workers.

    .venv/bin/python benchmarks/streaming.py --grain PYTHON --torch PYTHON [--rounds 3] [--workers 2] [--kinds rows,images,tokens]

Every contestant gives the same batches' worth of an epoch in random order, as NumPy arrays or tensors on the host:

- ``rows``: batches of 256 of a table of 12 columns of float64 numbers in 8 Parquet files. danlu standardises them as well. Grain reads with its
  ``ParquetIterDataset``, files interleaved, rows shuffled in a window of 10,000; the DataLoader has a data set that reads row groups with
  pyarrow, shuffles them and gives whole batches, which is the fastest of the usual ways;
- ``images``: batches of 64 of JPEG files of 160×120, decoded and scaled to 64×64;
- ``tokens``: batches of 32 windows of 256 tokens of a text of 4 million in a memory-mapped file.

A contestant is a process of its own. It goes through one epoch to warm up and through a second that is timed; contestants take turns, and the
best of the rounds counts, since other work on the machine only makes figures worse. Where the machine is busy, what a second of a
processor gives is the fairer figure: it counts the work and not the waiting. danlu's workers are threads, the others' processes (Grain's
and PyTorch's default).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
FILES, FILE_ROWS, COLUMNS = 8, 50_000, 12
PICTURES, SIDE = 1000, 64
TOKENS, CONTEXT = 4_000_000, 256
BATCH = {"rows": 256, "images": 64, "tokens": 32}
UNIT = {"rows": "rows/s", "images": "images/s", "tokens": "tokens/s"}


def make(folder: Path) -> None:
    """Write the data."""
    import polars as pl
    from PIL import Image

    rng = np.random.default_rng(0)
    (folder / "rows").mkdir()
    for number in range(FILES):
        columns = {f"c{j}": rng.normal(size=FILE_ROWS) for j in range(COLUMNS)}
        frame = pl.DataFrame({**columns, "y": rng.integers(0, 2, FILE_ROWS)})
        frame.write_parquet(folder / "rows" / f"part-{number}.parquet", row_group_size=25_000)
    (folder / "images").mkdir()
    for number in range(PICTURES):
        small = rng.integers(0, 255, (15, 20, 3), dtype=np.uint8)
        Image.fromarray(small).resize((160, 120), Image.Resampling.BICUBIC).save(folder / "images" / f"{number:04}.jpg")
    np.save(folder / "tokens.npy", rng.integers(0, 5000, TOKENS).astype(np.uint16))


def decoded(file: str) -> np.ndarray:
    """The pixels of a picture."""
    from PIL import Image

    with Image.open(file) as image:
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def pictures(folder: Path) -> list[str]:
    """The files of the pictures."""
    return sorted(map(str, (folder / "images").iterdir()))


# danlu


def of_danlu(kind: str, folder: Path, workers: int) -> Callable[[int], Iterator[Any]]:
    """``epoch -> batches``, by what the trainer reads; the batches are taken from its chunks on the host."""
    import jax

    from danlu.data import TableEncoder, open_stream
    from danlu.data.images.stream import PixelStream
    from danlu.data.text import Tokens, Windows
    from danlu.engine import ChunkSource
    from danlu.engine.prefetch import prefetch

    stream: Any
    if kind == "rows":
        table = open_stream(folder / "rows", target="y", validation=0.0, test=0.0, twins=False)
        stream = table.train(TableEncoder.fit(table.sample, table.schema))
    elif kind == "images":
        files = pictures(folder)
        places = np.arange(len(files))
        stream = PixelStream(lambda row: (decoded(files[row]), np.int32(0)), places, 1024, seed=0, workers=workers)
    else:
        tokens = np.load(folder / "tokens.npy", mmap_mode="r")
        stream = Windows(Tokens(tokens, np.array([0, TOKENS]), TOKENS), CONTEXT, seed=0, multiple=BATCH[kind])
    source = ChunkSource(stream, batch_size=BATCH[kind], shuffle=kind == "rows")

    def batches(epoch: int) -> Iterator[Any]:
        for (lot,), order, steps in prefetch(source.lots(epoch, 0)):
            entries = order[: steps * BATCH[kind]].reshape(steps, -1)
            for batch in entries:
                real = batch[batch >= 0]
                yield jax.tree.map(lambda array, real=real: array[real], (lot["x"], lot["y"]))

    return batches


# Grain


def of_grain(kind: str, folder: Path, workers: int) -> Callable[[int], Iterable[Any]]:
    """``epoch -> batches`` of a Grain data set."""
    import grain

    options = grain.multiprocessing.MultiprocessingOptions(num_workers=workers)

    def batches(epoch: int) -> Iterable[Any]:
        data: Any
        if kind == "rows":
            files = sorted(map(str, (folder / "rows").iterdir()))
            readers = grain.MapDataset.source(files).shuffle(seed=epoch).map(grain.experimental.ParquetIterDataset)
            data = grain.experimental.InterleaveIterDataset(readers, cycle_length=4)
            data = grain.experimental.WindowShuffleIterDataset(data, window_size=10_000, seed=epoch)
            data = data.batch(BATCH[kind])
        else:
            find = decoded if kind == "images" else Window(folder / "tokens.npy")
            items = pictures(folder) if kind == "images" else np.arange((TOKENS - 1) // CONTEXT)
            data = grain.MapDataset.source(items).shuffle(seed=epoch).map(find).batch(BATCH[kind]).to_iter_dataset()
        return data.mp_prefetch(options)

    return batches


class Window:
    """The tokens of a window and those that follow each."""

    def __init__(self, file: Path) -> None:
        self.file, self.tokens = file, None

    def __call__(self, number: Any) -> tuple[np.ndarray, np.ndarray]:
        if self.tokens is None:
            self.tokens = np.load(self.file, mmap_mode="r")
        taken = np.asarray(self.tokens[number * CONTEXT : (number + 1) * CONTEXT + 1], np.int64)
        return taken[:-1], taken[1:]


# PyTorch


def of_torch(kind: str, folder: Path, workers: int) -> Callable[[int], Iterable[Any]]:
    """``epoch -> batches`` of a DataLoader."""
    import torch
    from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

    class Groups(IterableDataset):  # type: ignore[type-arg]
        """Batches of row groups in random order, which the workers share out."""

        def __init__(self, epoch: int) -> None:
            self.epoch = epoch

        def __iter__(self) -> Iterator[Any]:
            import pyarrow.parquet as pq

            info = get_worker_info()
            rng = np.random.default_rng(self.epoch)
            files = sorted(map(str, (folder / "rows").iterdir()))
            groups = [(file, group) for file in files for group in range(pq.ParquetFile(file).num_row_groups)]
            for at in rng.permutation(len(groups))[info.id :: info.num_workers]:
                table = pq.ParquetFile(groups[at][0]).read_row_group(groups[at][1])
                x = np.stack([table[f"c{j}"].to_numpy() for j in range(COLUMNS)], axis=1).astype(np.float32)
                y, order = table["y"].to_numpy(), rng.permutation(len(table))
                for low in range(0, len(order), BATCH[kind]):
                    rows = order[low : low + BATCH[kind]]
                    yield torch.from_numpy(x[rows]), torch.from_numpy(y[rows])

    class Items(Dataset):  # type: ignore[type-arg]
        """Pictures or windows by number."""

        def __init__(self) -> None:
            self.files = pictures(folder) if kind == "images" else []
            self.window = Window(folder / "tokens.npy")

        def __len__(self) -> int:
            return len(self.files) or (TOKENS - 1) // CONTEXT

        def __getitem__(self, number: int) -> Any:
            return decoded(self.files[number]) if self.files else self.window(number)

    def batches(epoch: int) -> Iterable[Any]:
        if kind == "rows":
            return DataLoader(Groups(epoch), batch_size=None, num_workers=workers)
        return DataLoader(Items(), batch_size=BATCH[kind], shuffle=True, num_workers=workers)

    return batches


CONTESTANTS = {"danlu": of_danlu, "grain": of_grain, "torch": of_torch}


def cpu() -> float:
    """Seconds of processors that this process and those of its workers that have ended took."""
    gc.collect()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def timed(contestant: str, kind: str, folder: Path, workers: int) -> tuple[float, float]:
    """Rows, images or tokens a second of the second epoch, and a second of a processor."""
    batches = CONTESTANTS[contestant](kind, folder, workers)
    for epoch in range(2):
        count, begun, used = 0, time.perf_counter(), cpu()
        for batch in batches(epoch):
            first = batch
            while isinstance(first, dict | tuple | list):
                first = next(iter(first.values())) if isinstance(first, dict) else first[0]
            count += len(first)
        seconds = time.perf_counter() - begun
    units = count * (CONTEXT if kind == "tokens" else 1)
    return units / seconds, units / (cpu() - used)


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grain", default=sys.executable, help="a Python that has Grain and pyarrow")
    parser.add_argument("--torch", default=sys.executable, help="a Python that has PyTorch and pyarrow")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kinds", default="rows,images,tokens")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(timed(given.one[0], given.one[1], Path(given.one[2]), given.workers)))
        return
    pythons = {"danlu": sys.executable, "grain": given.grain, "torch": given.torch}
    found: dict[tuple[str, str], list[list[float]]] = {}
    loads = []
    with tempfile.TemporaryDirectory() as place:
        make(Path(place))
        for _ in range(given.rounds):
            for kind in given.kinds.split(","):
                for name, python in pythons.items():
                    words = [python, __file__, "--one", name, kind, place, "--workers", str(given.workers)]
                    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
                    loads.append(os.getloadavg()[0])
                    if done.returncode:
                        print(f"{name} {kind}: {done.stderr.strip()[-800:]}", file=sys.stderr)
                        continue
                    found.setdefault((kind, name), []).append(json.loads(done.stdout.splitlines()[-1]))
                    wall, own = found[kind, name][-1]
                    print(f"{kind:7} {name:6} {wall:14,.0f} {UNIT[kind]} {own:14,.0f} of a processor", flush=True)
    lines = [
        f"Machine: {platform.machine()}, {os.cpu_count()} cores; {given.workers} workers; best of {given.rounds} rounds in turns, "
        f"load {min(loads):.0f} to {max(loads):.0f}.",
        "",
        "| from disk to batches | danlu | Grain | DataLoader | danlu beside the faster one |",
        "|---|--:|--:|--:|--:|",
    ]
    for kind in given.kinds.split(","):
        for place, what in enumerate((UNIT[kind], f"{UNIT[kind].replace('/s', '')} a second of a processor")):
            own, *peers = (
                max((round_[place] for round_ in found.get((kind, name), [])), default=float("nan")) for name in pythons
            )
            cells = " | ".join(f"{value:,.0f}" for value in (own, *peers))
            lines.append(f"| {what} | {cells} | {own / max(peers):.2f}× |")
    text = "\n".join(lines) + "\n"
    (RESULTS / "streaming.md").write_text(text)
    print("\n" + text)


if __name__ == "__main__":
    main()
