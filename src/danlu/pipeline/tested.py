"""The test of a run, kept beside its model, so that two runs can be compared row by row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from danlu.artifact import RunDirectory
from danlu.artifact.artifact import WEIGHTS_FILE
from danlu.artifact.files import read_bytes
from danlu.errors import ArtifactError, DanluError
from danlu.evaluate import Evidence, Interval
from danlu.evaluate.sides import Side
from danlu.evaluate.stored import restored, stored
from danlu.files import write_atomic
from danlu.memory import in_words

__all__ = ["TEST", "keep_test", "side_of"]

TEST = "test.safetensors"
"""The file of a run that holds its test rows' true and given answers."""

_MOST = 64 * 2**20  # bytes
_LEARNS = ("model", "trainer", "imbalance", "answers", "augment", "evaluate", "fairness")
"""The sections of the settings that do not decide which rows are tested, but for the seed and the folds."""


def keep_test(folder: Path, evidence: Evidence | None, numbers: Any = None) -> None:
    """Write a test to its run; of one that is too large, or that holds something else than numbers, only why it is not kept.

    Args:
        numbers: of the rows in the data, ``(rows,)``, where they are known.
    """
    from safetensors.numpy import save

    if evidence is None:
        return
    try:
        arrays, told = stored(evidence)
        size = sum(array.nbytes for array in arrays.values())
        why = f"has a test of {in_words(size)}, of which {in_words(_MOST)} are kept at most" if size > _MOST else ""
    except DanluError as error:
        arrays, told, why = {}, None, f"has a test that is not kept: {error.message}"
    if why:
        arrays, told = {}, None
    elif numbers is not None:
        arrays = {**arrays, "numbers": np.ascontiguousarray(np.asarray(numbers, np.int64))}
    write_atomic(folder / TEST, save(arrays, metadata={"test": json.dumps({"evidence": told, "why": why})}))


def side_of(run: RunDirectory, name: str, document: Mapping[str, Any]) -> Side:
    """The test of a run as one side of a comparison.

    Args:
        name: what the run is called there.
        document: the ``model.json`` of its model; empty where there is none.

    Raises:
        ArtifactError: a damaged file.
    """
    results = run.read_json("results.json") if run.results_path.is_file() else {}
    config = run.read_json("config.json")
    ends = results.get("intervals") or {}
    scores = {
        measure: Interval(_number(value), *(_number(end) for end in ends.get(measure, (None, None))))
        for measure, value in (results.get("test") or {}).items()
        if value is not None
    }
    evidence, numbers, why = _kept(run.path / TEST)
    head, comparisons = document.get("head") or {}, results.get("comparisons") or []
    target: Mapping[str, Any] = head["target"] if isinstance(head.get("target"), Mapping) else {}
    primary = evidence.primary if evidence is not None else comparisons[0]["metric"] if comparisons else ""
    data = config.get("data") or {}
    return Side(
        name,
        task=str((document.get("task") or {}).get("name") or ""),
        target=str(data.get("target") or (config.get("forecast") or {}).get("targets") or ""),
        primary=primary if primary in scores else next(iter(scores), ""),
        scores=scores,
        classes=tuple(map(str, target.get("classes") or document.get("classes") or ())),
        data=_data(run, data),
        evidence=evidence,
        numbers=numbers,
        division=_division(config),
        why=why,
        weights=str(((document.get("files") or {}).get(WEIGHTS_FILE) or {}).get("sha256") or ""),
    )


def _kept(path: Path) -> tuple[Evidence | None, np.ndarray | None, str]:
    """The evidence and the numbers of its rows, or why they are not there."""
    from safetensors.numpy import load

    if not path.is_file():
        return None, None, "keeps no test rows (it was trained by an older danlu, or not tested)"
    try:
        content = read_bytes(path)
        size = int.from_bytes(content[:8], "little")
        told = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["test"])
        arrays = load(content)
        if told["evidence"] is None:
            return None, None, str(told["why"])
        numbers = arrays.pop("numbers", None)
        evidence = restored(arrays, told["evidence"])
        if not isinstance(evidence, Evidence) or (numbers is not None and len(numbers) != len(evidence)):
            raise ValueError("it holds no test, or not a number for each row")
    except ArtifactError:
        raise
    except Exception as error:
        raise ArtifactError(
            f"the kept test {path} is damaged: {str(error)[:120]}", hint="train again, or remove it to compare less"
        ) from error
    return evidence, numbers, ""


def _data(run: RunDirectory, data: Mapping[str, Any]) -> str:
    """The fingerprint of the data that the test rows are of; of an environment its name."""
    pieces = run.read_json("source.json").get("data") if (run.path / "source.json").is_file() else None
    if not isinstance(pieces, Mapping):
        return ""
    if "source" not in pieces:  # nothing is read
        return f"environment {data.get('source')}"
    tested = pieces.get("test") or pieces["source"]
    return str(tested.get("sha256") or "") + (" as test" if "test" in pieces else "")


def _division(config: Mapping[str, Any]) -> str:
    """The settings that decide which rows are tested."""
    own = {name: section for name, section in config.items() if name not in _LEARNS}
    data = own.get("data") or {}
    own["data"] = {name: value for name, value in data.items() if name not in ("source", "test")}
    if data.get("test"):  # nothing is drawn
        return json.dumps({**own, "split": None}, sort_keys=True)
    folds = {name: (config.get("evaluate") or {}).get(name) for name in ("folds", "fold", "repeats")}
    return json.dumps([own, folds, (config.get("trainer") or {}).get("seed")], sort_keys=True)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
