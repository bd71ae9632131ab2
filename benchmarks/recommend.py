"""MovieLens-100k: the error of ratings beside Surprise's SVD++, and rankings of all films beside EASE, neighbours and implicit.

``python benchmarks/recommend.py ratings --data ml-100k --surprise PYTHON`` trains on four of five folds and tests on the fifth, five
times: the folds that Surprise's ``KFold(random_state=0)`` makes (its README's), or with ``--given`` the files u1 to u5. danlu's defaults
hold a part of the training rows out to choose the epoch, and learn again with it.

``python benchmarks/recommend.py ranking --data ml-100k --implicit PYTHON`` takes each user's last rating as the one film to be found
among all that the user did not rate. All settings that are chosen are chosen on the rating before it.

The data may not be handed on: ``--data`` is a folder with ``u.data`` and ``u1.base`` to ``u5.test``, which many public repositories hold.
PYTHON is of an environment with scikit-surprise and pandas, or with implicit; it runs ``recommend_peers.py``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

PEERS = Path(__file__).with_name("recommend_peers.py")
BAR = 0.919
NAMES = ["user", "item", "rating", "time"]


def read(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, separator="\t", has_header=False, new_columns=NAMES)


def folds(data: Path, given: bool) -> list[tuple[pl.DataFrame, pl.DataFrame]]:
    """Training and test rows of the five folds."""
    if given:
        return [(read(data / f"u{k}.base"), read(data / f"u{k}.test")) for k in range(1, 6)]
    whole = read(data / "u.data")
    order = np.arange(len(whole))
    np.random.RandomState(0).shuffle(order)
    parts = np.array_split(order, 5)
    return [(whole[np.sort(np.concatenate([p for p in parts if p is not part]))], whole[part]) for part in parts]


def peer(python: str, what: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as place:
        np.savez(Path(place, "in.npz"), **arrays)
        subprocess.run([python, PEERS, what, Path(place, "in.npz"), Path(place, "out.npz")], check=True)
        with np.load(Path(place, "out.npz")) as file:
            return dict(file)


def rmse(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(np.square(found - truth).mean()))


def ratings(data: Path, given: bool, surprise: str | None, settings: dict[str, Any]) -> dict[str, Any]:
    import danlu

    rows: list[dict[str, float]] = []
    for train, test in folds(data, given):
        with tempfile.TemporaryDirectory() as place:
            test.write_csv(Path(place, "test.csv"))
            train.write_csv(Path(place, "train.csv"))
            begun, used = time.perf_counter(), time.process_time()
            result = danlu.train(
                str(Path(place, "train.csv")),
                test=str(Path(place, "test.csv")),
                recommend={"columns": "user:item:rating:time", **settings},
                evaluate={"baselines": False, "report": False},
                runs=place,
                display="none",
                say=lambda line: None,
            )
            row = {
                "rmse": result.scores["rmse"],
                "seconds": time.perf_counter() - begun,
                "cpu": time.process_time() - used,
            }
        if surprise is not None:
            columns = {
                f"{part}_{name}": frame[name].to_numpy()
                for part, frame in (("train", train), ("test", test))
                for name in NAMES[:3]
            }
            found = peer(surprise, "ratings", columns)
            row |= {
                "surprise_rmse": rmse(found["prediction"], test["rating"].to_numpy()),
                "surprise_seconds": float(found["seconds"]),
                "surprise_cpu": float(found["cpu"]),
            }
        print(json.dumps(row), flush=True)
        rows.append(row)
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if "rmse" in name}
    sums = {name: float(np.sum([row[name] for row in rows])) for name in rows[0] if "rmse" not in name}
    told = {**means, **sums, "bar": BAR}
    print(json.dumps(told, indent=1))
    return told


def ranked(data: Path, implicit: str | None, settings: dict[str, Any], seeds: int) -> dict[str, Any]:
    import danlu
    from danlu.evaluate import compare
    from danlu.pipeline.config import config_from
    from danlu.pipeline.recommend import Recommendations
    from danlu.recommend import baselines
    from danlu.recommend.rank import ranking

    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        source = str(Path(place, "ratings.csv"))
        read(data / "u.data").write_csv(source)
        for seed in range(seeds):
            begun = time.perf_counter()
            result = danlu.train(
                source,
                recommend={"columns": "user:item::time", **settings},
                evaluate={"baselines": seed == 0, "report": False},
                trainer={"seed": seed},
                runs=place,
                display="none",
                say=lambda line: None,
            )
            told[f"danlu, seed {seed}"] = dict(result.scores)
            print(seed, f"{time.perf_counter() - begun:.0f} s", json.dumps(told[f"danlu, seed {seed}"]), flush=True)
            if seed == 0:
                first: Any = result
                print(result.judgement, flush=True)
        if implicit is not None:
            config = config_from({"data": {"source": source}, "recommend": {"columns": "user:item::time"}})
            prepared = Recommendations().prepare(config, source)
            encoder, test = prepared.encoder.knowing(prepared.train.joined(prepared.validation)), prepared.test
            shape = len(encoder.users) + 1, len(encoder.items) + 1
            both = prepared.train.joined(prepared.validation)
            arrays = {"before": baselines.matrix(prepared.train, *shape), "after": baselines.matrix(both, *shape)}
            arrays |= {"user": prepared.validation.user, "item": prepared.validation.item}
            order = np.argsort(prepared.tested["user"].to_numpy(), kind="stable")
            for name, scores in peer(implicit, "ranking", arrays).items():
                table = scores.astype(np.float64)
                found = ranking(
                    lambda users, table=table: table[users],
                    encoder,
                    test.user[order],
                    np.arange(len(order)),
                    test.item[order],
                )  # type: ignore[misc, union-attr]
                told[f"implicit, {name}"] = dict(found.measures())
                print(name, json.dumps(told[f"implicit, {name}"]))
                print(compare(first.judgement.evidence, found, f"implicit's {name}").sentence, flush=True)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("ratings", "ranking"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--given", action="store_true")
    parser.add_argument("--surprise")
    parser.add_argument("--implicit")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--settings", type=json.loads, default={}, help="of recommend, as JSON")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    if given.what == "ratings":
        told = ratings(given.data, given.given, given.surprise, given.settings)
    else:
        told = ranked(given.data, given.implicit, given.settings, given.seeds)
    if given.output is not None:
        given.output.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
