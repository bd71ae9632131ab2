"""Two or three runs compared: their tests, row by row where these are the same, and what they were trained with."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.artifact import RunDirectory
from danlu.artifact.files import json_text
from danlu.errors import ArtifactError, ConfigError
from danlu.evaluate.sides import Side, pair
from danlu.memory import in_words
from danlu.pipeline.branched import Branch
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.past import Past
from danlu.pipeline.tested import side_of
from danlu.report.compared import Compared, ComparedRun

__all__ = ["compare_runs"]


def compare_runs(*runs: str | Path) -> Compared:
    """Compare two or three trained runs.

    Where two runs have the same test rows (the same numbers of rows in data with the same fingerprint), the difference of each measure
    has an interval from these rows in pairs; else the interval of each score decides, and it is said why. Intervals of three pairs are
    widened (Bonferroni), so that they hold together.

    Args:
        runs: the folders, two or three.

    Returns:
        A :class:`~danlu.report.compared.Compared`: print it, or :meth:`~danlu.report.compared.Compared.write` it as a page.

    Raises:
        ConfigError: another number of runs, or the same run twice.
        ArtifactError: a folder that is no run, or a damaged file.

    Example:
        >>> import tempfile, danlu
        >>> table = {"x": [float(i) for i in range(80)], "y": ["low", "high"] * 40}
        >>> how = {"target": "y", "runs": tempfile.mkdtemp(), "display": "none", "say": lambda line: None,
        ...        "model": {"kind": "network", "members": 2, "width": 8}, "evaluate": {"baselines": False, "report": False}}
        >>> paths = [danlu.train(table, name=f"{n}", trainer={"epochs": n}, **how).run.path for n in (1, 2)]
        >>> found = compare_runs(*paths)
        >>> found.pairs[0].how, found.pairs[0].rows, found.settings
        ('paired', 16, {'trainer.epochs': [1, 2]})
    """
    if not 2 <= len(runs) <= 3:
        raise ConfigError(
            f"{len(runs)} {'run was' if len(runs) == 1 else 'runs were'} given to compare; expected two or three",
            hint="danlu compare RUN_A RUN_B; danlu runs --by MEASURE orders more of them",
        )
    folders = [RunDirectory.open(run) for run in runs]
    if len({each.path.resolve() for each in folders}) < len(folders):
        raise ConfigError("the same run was given twice; expected different runs")
    names = _names(folders)
    documents = [_document(each) for each in folders]
    sides = [side_of(*each) for each in zip(folders, names, documents, strict=True)]
    two = list(itertools.combinations(sides, 2))
    pairs = tuple(pair(one, other, level=1 - 0.05 / len(two)) for one, other in two)
    compared = [
        _described(folder, document, side) for folder, document, side in zip(folders, documents, sides, strict=True)
    ]
    return Compared(tuple(compared), pairs)


def _names(folders: Sequence[RunDirectory]) -> list[str]:
    """The runs' names, with the folders that they are in where two have one name."""
    names = [each.name for each in folders]
    if len(set(names)) == len(names):
        return names
    return [f"{each.path.resolve().parent.name}/{each.name}" for each in folders]


def _document(run: RunDirectory) -> Mapping[str, Any]:
    path = run.artifact_path / "model.json"
    return RunDirectory(run.artifact_path).read_json("model.json") if path.is_file() else {}


def _described(run: RunDirectory, document: Mapping[str, Any], side: Side) -> ComparedRun:
    past = Past.of(run)
    results = run.read_json("results.json") if run.results_path.is_file() else {}
    config = run.read_json("config.json")
    usual = json.loads(
        json_text(TrainConfig().as_dict())
    )  # what a run of an older version does not say is as by default
    settings = {
        f"{section}.{setting}": value
        for section, values in (usual | config).items()
        if isinstance(values, Mapping)
        for setting, value in (usual.get(section, {}) | values).items()
    }
    size = sum(path.stat().st_size for path in run.artifact_path.rglob("*") if path.is_file())
    parts = ", ".join(f"{count:,} {part}" for part, count in (results.get("rows") or {}).items() if count)
    parameters, seconds = _parameters(document), results.get("seconds")
    compute = results.get("compute") or {}
    numbers: dict[str, float | None] = {
        "seconds": seconds,
        "cpu_seconds": compute.get("cpu_seconds"),
        "epochs": results.get("epochs"),
        "parameters": parameters,
        "bytes": size or None,
    }
    effort = {
        "time": "–" if seconds is None else f"{seconds:,.0f} s",
        "CPU time": "–" if numbers["cpu_seconds"] is None else f"{numbers['cpu_seconds']:,.0f} s",
        "epochs": "–" if numbers["epochs"] is None else f"{numbers['epochs']:,}",
        "parameters": "–" if parameters is None else f"{parameters:,}",
        "model on disk": in_words(size) if size else "–",
        "rows": parts or "–",
    }
    if not document and not results:
        raise ArtifactError(f"the run {run.path} has no model yet", hint=f"continue it: {run.again}")
    return ComparedRun(
        side.name,
        str(run.path),
        past.data,
        past.kind,
        side.primary,
        side.scores,
        settings,
        effort,
        numbers,
        run.read_metrics(),
        results.get("best_epoch"),
        "" if (branch := Branch.of(run)) is None else f"{branch}.",
    )


def _parameters(document: Mapping[str, Any]) -> int | None:
    """The numbers in the arrays of the network's parameters and codes, by the shapes that the model's description lists."""
    trees = (document.get("weights") or {}).get("trees", {})
    tree = trees.get("params")
    return None if tree is None else _count(tree) + sum(map(_count, _codes(trees.get("state"))))


def _codes(tree: Any) -> Iterator[Any]:
    """The parts of a network's state that are the codes of weights."""
    parts = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list) else ()
    for name, each in parts:
        if name == "codes":
            yield each
        else:
            yield from _codes(each)


def _count(tree: Any) -> int:
    if isinstance(tree, Mapping) and isinstance(tree.get("shape"), list):
        product = 1
        for side in tree["shape"]:
            product *= int(side)
        return product
    parts = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list) else ()
    return sum(_count(part) for part in parts)
