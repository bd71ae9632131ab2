"""Trains on a folder of Parquet files and prints, as JSON, how far the memory grew beyond a training on a few rows."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import polars as pl


def resident() -> int:
    """Bytes of memory this process holds now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


class Peak(threading.Thread):
    """Looks at the memory a hundred times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = 0

    def run(self) -> None:
        while True:
            self.bytes = max(self.bytes, resident())
            time.sleep(0.01)


def train(folder: Path) -> dict[str, float]:
    import danlu
    from danlu.data import TableEncoder, open_stream
    from danlu.nn import MLP, Parallel

    stream = open_stream(folder, target="y", test=0.1, validation=0.1)
    encoder = TableEncoder.fit(stream.sample, stream.schema)
    begun = time.perf_counter()
    fitted = danlu.fit(
        Parallel((MLP((16,), 2),), inputs=("numeric",)),
        stream.train(encoder),
        loss="categorical_cross_entropy",
        metrics=["accuracy"],
        validation=stream.validation(encoder).arrays(limit=20_000),
        epochs=1,
        batch_size=1024,
        display="none",
    )
    row = fitted.history[-1]
    seconds = time.perf_counter() - begun
    return {"rows": stream.rows["train"], "seconds": seconds, "accuracy": row["val_accuracy"]}


def main(folder: str) -> None:
    small = Path(folder, "small")
    small.mkdir(exist_ok=True)
    first = min(Path(folder, "large").glob("*.parquet"))
    pl.scan_parquet(first).head(2000).collect().write_parquet(small / "t.parquet")
    train(small)  # imports, the compiler and the thread pools are not what is measured
    before = resident()
    peak = Peak()
    peak.start()
    result = train(Path(folder, "large"))
    print(json.dumps({**result, "growth": peak.bytes - before}))


if __name__ == "__main__":
    main(sys.argv[1])
