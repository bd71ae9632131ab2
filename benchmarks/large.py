"""Large tables: rows a second and peak memory from 10^4 to 10^7 rows of 30 columns, beside LightGBM and a PyTorch loop.

    .venv/bin/python benchmarks/large.py make --rows 1e6 --folder FOLDER [--csv]
    .venv/bin/python benchmarks/large.py run --rows 1e4,1e5,1e6,1e7 --folder FOLDER [--peers PYTHON] [--contestants danlu,lightgbm,torch]

``make`` writes 20 numeric and 10 categorical columns and a target of two classes (a smooth function of ten of them, with noise),
the same for the same seed, a piece at a time. ``run`` gives each contestant a process of its own, one after the other: danlu is
``danlu.train`` with one pass over the rows, everything included (checking, types, split, encoding, training, test, artifact);
LightGBM reads the Parquet file with polars and trains 100 trees; PyTorch trains danlu's default network (TabM-mini with the same
widths) for one epoch with its fused AdamW on encoded rows that are all in memory, reading and encoding included apart. Peak memory is
the process's largest resident set. ``--peers`` is a Python that has lightgbm and torch.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

RESULTS = Path(__file__).parent / "results"
_PIECE = 500_000
_NUMERIC, _CATEGORICAL, _LEVELS = 20, 10, 12


def piece(number: int, rows: int) -> pl.DataFrame:
    """The rows of one piece; they depend on the piece's number alone."""
    rng = np.random.default_rng([7, number])
    x = rng.normal(size=(rows, _NUMERIC)).astype(np.float32)
    x[:, 5] = np.exp(x[:, 5])
    codes = rng.integers(0, _LEVELS, (rows, _CATEGORICAL))
    effect = np.random.default_rng(3).normal(size=(_CATEGORICAL, _LEVELS))
    signal = (
        np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.5 * np.abs(x[:, 3]) - 0.7 * x[:, 4] + 0.3 * np.log(x[:, 5])
        + effect[0, codes[:, 0]] + effect[1, codes[:, 1]] * (x[:, 6] > 0)
    )  # fmt: skip
    y = rng.random(rows) < 1 / (1 + np.exp(-1.5 * signal))
    numbers = {f"x{j}": x[:, j] for j in range(_NUMERIC)}
    words = np.array([f"level {k}" for k in range(_LEVELS)])
    texts = {f"c{j}": words[codes[:, j]] for j in range(_CATEGORICAL)}
    return pl.DataFrame({**numbers, **texts, "y": np.where(y, "yes", "no")})


def make(rows: int, folder: Path, *, csv: bool = False) -> Path:
    """Write the table, if it is not there, and return its path: a folder of Parquet files, or one CSV file."""
    if csv:
        path = folder / f"{rows}.csv"
        if not path.exists():
            with path.with_suffix(".part").open("wb") as file:
                for number, low in enumerate(range(0, rows, _PIECE)):
                    part = piece(number, min(_PIECE, rows - low))
                    part.write_csv(file, include_header=low == 0, float_precision=5)
            path.with_suffix(".part").rename(path)
        return path
    path = folder / f"{rows}"
    path.mkdir(parents=True, exist_ok=True)
    for number, low in enumerate(range(0, rows, _PIECE)):
        file = path / f"{number:04}.parquet"
        if not file.exists():
            piece(number, min(_PIECE, rows - low)).write_parquet(file.with_suffix(".part"))
            file.with_suffix(".part").rename(file)
    return path


def _danlu(path: Path) -> dict[str, Any]:
    import danlu

    with tempfile.TemporaryDirectory() as place:
        result = danlu.train(
            str(path), target="y", runs=place, display="none", say=lambda line: None, trainer={"epochs": 1},
            data={} if path.is_file() else {"stream": True},
            evaluate={"report": False, "baselines": False, "importance": False},
        )  # fmt: skip
        return {
            "train_seconds": sum(row["seconds"] for row in result.fitted.history),
            "trained_rows": result.rows["train"],
            "auc": result.scores["roc_auc"],
        }


def _frame(path: Path) -> pl.DataFrame:
    return pl.read_csv(path) if path.is_file() else pl.read_parquet(path / "*.parquet")


def _lightgbm(path: Path) -> dict[str, Any]:
    import lightgbm
    from sklearn.metrics import roc_auc_score

    frame = _frame(path)
    y = (frame["y"] == "yes").to_numpy()
    x = frame.drop("y").with_columns(pl.selectors.string().cast(pl.Categorical).to_physical()).to_numpy()
    kept = np.random.default_rng(0).random(len(y)) < 0.8
    del frame
    begun = time.perf_counter()
    model = lightgbm.LGBMClassifier(n_estimators=100, n_jobs=2, verbose=-1)
    model.fit(x[kept], y[kept], categorical_feature=list(range(_NUMERIC, _NUMERIC + _CATEGORICAL)))
    return {
        "train_seconds": time.perf_counter() - begun,
        "trained_rows": int(kept.sum()),
        "auc": float(roc_auc_score(y[~kept], model.predict_proba(x[~kept])[:, 1])),
    }


def _torch(path: Path) -> dict[str, Any]:
    """danlu's default network as PyTorch would write it: piecewise-linear and periodic embeddings, members that share weights."""
    import torch
    from sklearn.metrics import roc_auc_score

    torch.set_num_threads(2)
    torch.manual_seed(0)
    frame = _frame(path)
    y = torch.from_numpy((frame["y"] == "yes").to_numpy().astype(np.int64))
    numeric = frame.select(f"x{j}" for j in range(_NUMERIC)).to_numpy().astype(np.float32)
    numeric = torch.from_numpy((numeric - numeric.mean(0)) / numeric.std(0))
    codes = frame.select(pl.col(f"c{j}").cast(pl.Categorical).to_physical() for j in range(_CATEGORICAL))
    codes = torch.from_numpy(codes.to_numpy().astype(np.int64))
    del frame
    members, width, dim, bins, waves = 16, 192, 12, 48, 16

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            edges = torch.quantile(numeric[:100_000], torch.linspace(0, 1, bins + 1), dim=0).T
            self.left, self.width = edges[:, :-1].contiguous(), (edges[:, 1:] - edges[:, :-1]).clamp(min=1e-6)
            self.slope = torch.nn.Parameter(torch.randn(_NUMERIC, dim) * 0.1)
            self.offset = torch.nn.Parameter(torch.zeros(_NUMERIC, dim))
            self.bend = torch.nn.Parameter(torch.zeros(_NUMERIC, bins, dim))
            self.frequency = torch.nn.Parameter(torch.randn(_NUMERIC, waves) * 0.1)
            self.wave = torch.nn.Parameter(torch.randn(_NUMERIC, 2 * waves, dim) * 0.1)
            inputs = _NUMERIC * dim + _CATEGORICAL * _LEVELS
            self.scale = torch.nn.Parameter(torch.randn(members, 1, inputs))
            sizes = [inputs, width, width]
            self.kernels = torch.nn.ParameterList(
                torch.nn.Parameter(torch.randn(a, b) / a**0.5) for a, b in zip(sizes, sizes[1:], strict=False)
            )
            self.biases = torch.nn.ParameterList(torch.nn.Parameter(torch.zeros(members, 1, width)) for _ in sizes[1:])
            self.head = torch.nn.Parameter(torch.randn(members, width, 2) / width**0.5)

        def forward(self, x: Any, c: Any) -> Any:
            ple = ((x[:, :, None] - self.left) / self.width).clamp(0, 1)
            angle = 2 * torch.pi * x[:, :, None] * self.frequency
            waves_ = torch.cat([angle.cos(), angle.sin()], -1)
            embedded = x[:, :, None] * self.slope + self.offset
            embedded = embedded + torch.einsum("bct,ctd->bcd", ple, self.bend)
            embedded = embedded + torch.einsum("bct,ctd->bcd", waves_, self.wave)
            hot = torch.nn.functional.one_hot(c, _LEVELS).flatten(1).float()
            h = torch.cat([embedded.flatten(1), hot], 1)[None] * self.scale
            for kernel, bias in zip(self.kernels, self.biases, strict=True):
                h = torch.nn.functional.dropout(torch.relu(h @ kernel + bias), 0.1, self.training)
            return h @ self.head

    kept = torch.from_numpy(np.random.default_rng(0).random(len(y)) < 0.8)
    order = torch.nonzero(kept)[:, 0]
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=8e-3, weight_decay=0.01, betas=(0.9, 0.99), fused=True)
    begun = time.perf_counter()
    for rows in order[torch.randperm(len(order))].split(256):
        logits = net(numeric[rows], codes[rows])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y[rows].repeat(members))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    seconds = time.perf_counter() - begun
    net.eval()
    with torch.no_grad():
        some = torch.nonzero(~kept)[:200_000, 0]
        found = torch.cat([net(numeric[part], codes[part]).softmax(-1).mean(0)[:, 1] for part in some.split(4096)])
    return {
        "train_seconds": seconds,
        "trained_rows": len(order),
        "auc": float(roc_auc_score(y[some].numpy(), found.numpy())),
    }


CONTESTANTS = {"danlu": _danlu, "lightgbm": _lightgbm, "torch": _torch}


def _one(name: str, path: Path) -> None:
    """Run one contestant in this process and print its figures."""
    begun = time.perf_counter()
    found = CONTESTANTS[name](path)
    seconds = time.perf_counter() - begun
    found["seconds"] = round(seconds, 1)
    found["train_seconds"] = round(found["train_seconds"], 1)
    found["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print("RESULT " + json.dumps(found), flush=True)


def _page(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| file | rows | contestant | seconds in all | training rows/s | AUC | peak memory, MB | load |",
        "|---|--:|---|--:|--:|--:|--:|--:|",
    ]
    for row in sorted(rows, key=lambda row: (row["file"], row["rows"], row["contestant"])):
        if "failed" in row:
            lines.append(
                f"| {row['file']} | {row['rows']:,} | {row['contestant']} | {row['failed']} | | | | {row['load']} |"
            )
            continue
        speed = row["trained_rows"] / max(row["train_seconds"], 1e-9)
        lines.append(
            f"| {row['file']} | {row['rows']:,} | {row['contestant']} | {row['seconds']:,} | {speed:,.0f} "
            f"| {row['auc']:.4f} | {row['peak_mb']:,} | {row['load']} |"
        )
    return "\n".join(lines)


def _run(arguments: argparse.Namespace) -> None:
    out = RESULTS / "large.json"
    known: list[dict[str, Any]] = json.loads(out.read_text())["rows"] if out.exists() else []
    kind = "CSV" if arguments.csv else "Parquet"
    for rows in (int(float(each)) for each in arguments.rows.split(",")):
        path = make(rows, arguments.folder, csv=arguments.csv)
        for name in arguments.contestants.split(","):
            python = sys.executable if name == "danlu" else arguments.peers or sys.executable
            command = [python, __file__, "one", name, str(path)]
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            told = [line for line in ran.stdout.splitlines() if line.startswith("RESULT ")]
            row: dict[str, Any] = {"file": kind, "rows": rows, "contestant": name, "load": round(os.getloadavg()[0], 1)}
            row |= json.loads(told[-1][7:]) if told else {"failed": ran.stderr.strip().splitlines()[-1][:200]}
            print(row, flush=True)
            same = ("file", "rows", "contestant")
            known = [each for each in known if any(each[key] != row[key] for key in same)] + [row]
            machine = f"{platform.machine()}, {os.cpu_count()} cores"
            out.write_text(json.dumps({"machine": machine, "rows": known}, indent=1) + "\n")
            out.with_suffix(".md").write_text(f"Machine: {machine}.\n\n{_page(known)}\n")


def main() -> None:
    """Make a table, or run the contestants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "run", "one"])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--rows", default="1e4,1e5,1e6")
    parser.add_argument("--folder", type=Path, default=Path("build/large"))
    parser.add_argument("--csv", action="store_true")
    parser.add_argument("--peers")
    parser.add_argument("--contestants", default=",".join(CONTESTANTS))
    arguments = parser.parse_args()
    if arguments.what == "one":
        _one(arguments.names[0], Path(arguments.names[1]))
    elif arguments.what == "make":
        for rows in arguments.rows.split(","):
            print(make(int(float(rows)), arguments.folder, csv=arguments.csv))
    else:
        _run(arguments)


if __name__ == "__main__":
    main()
