"""The data of a run: where it is and a hash of its bytes, so that a run resumes with the same data or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.artifact import RunDirectory
from danlu.artifact.artifact import MODEL_FILE
from danlu.data.folders import files_in, files_like, is_pattern
from danlu.data.remote import identity_of, url_of
from danlu.data.threads import ordered
from danlu.errors import ConfigError, DanluError, DataError
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain

__all__ = ["check_unchanged", "data_of", "digests_of", "fingerprint", "located", "model_of"]

_SETTINGS = {"source": "data.source", "test": "data.test", "recording": "agent.data"}
"""What pieces of data are called; others by the setting that names them."""


def fingerprint(source: Any, more: Iterable[Path] = ()) -> str | None:
    """The SHA-256 of data: of a file's bytes; of the names and bytes of the files in a folder (hidden ones aside), or of those with a
    common beginning; of the values of a table or of arrays in memory; of the names, sizes and tags of what a URL names. None where there
    is nothing to read.

    Args:
        source: a path, a frame, arrays, ….
        more: files that it names, whose bytes belong to it.
    """
    if not isinstance(source, str | Path):
        return _of_object(source)
    if (own := identity_of(source)) is not None:
        return own
    path = Path(source)
    names = path if path.is_dir() else path.parent
    files = _files_of(path)
    others = [file for file in more if file.is_file()]
    if not files:
        return None
    if files == [path] and not others:
        return _of_file(path)
    hashes = ordered(_of_file, [*files, *others])
    lines = [f"{os.path.relpath(file, names)}\0{own}\n" for file, own in zip([*files, *others], hashes, strict=True)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        return list(files_in(path))
    if path.is_file():
        return [path]
    if is_pattern(path):
        return files_like(path)
    if path.exists() or not path.parent.is_dir():  # a pipe can be read once
        return []
    return sorted(file for file in path.parent.iterdir() if file.stem == path.name and file.is_file())


def _of_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_object(source: Any) -> str | None:
    digest = hashlib.sha256()
    if isinstance(source, np.ndarray) and source.dtype != object:
        source = {"array": source}
    if isinstance(source, Mapping) and all(isinstance(value, np.ndarray) for value in source.values()):
        for name, array in source.items():
            if array.dtype == object:
                return None
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
    try:
        from danlu.data import read_table

        frame = pl.DataFrame({"text": list(source)}) if isinstance(source, Sequence) else read_table(source).frame
    except (DanluError, TypeError, ValueError, pl.exceptions.PolarsError):
        return None
    digest.update(repr(frame.schema).encode())
    digest.update(frame.hash_rows(seed=0).to_numpy().tobytes())
    return digest.hexdigest()


def data_of(config: TrainConfig, source: Any, domain: Domain) -> dict[str, Any]:
    """The place and the fingerprint of each piece of data that a run reads: the source, the test rows, a recording."""
    found = {}
    for name, given in _given(config, source, _pieces(domain)).items():
        if name == "source" and not domain.reads_files:
            continue
        place = (url_of(given) or os.path.abspath(given)) if isinstance(given, str | Path) else None
        more = domain.files(config, given) if isinstance(given, str | Path) and Path(given).is_file() else ()
        own = fingerprint(given, more)
        found[name] = {"path": None if own is None else place, "sha256": own}
    for name, run in _models(
        config, domain
    ).items():  # a saved model's own description has the hashes of its other files
        found[name] = {"path": os.path.abspath(run), "sha256": fingerprint(model_of(run) / MODEL_FILE)}
    return {"data": found}


def model_of(run: str | Path) -> Path:
    """The folder of the saved model of a run, or the folder itself where it is one."""
    folder = RunDirectory(Path(run)).artifact_path
    return folder if folder.is_dir() else Path(run)


def _models(config: TrainConfig, domain: Domain) -> dict[str, str]:
    """The runs whose models are begun with, by what they are called."""
    return {f"{each} {name}": run for each in domain.models for name, run in config.setting(each).items()}


def digests_of(run: RunDirectory) -> dict[str, str]:
    """The fingerprint of each piece of data that a run was begun with, by what it is called, without where it is."""
    known = run.read_json("source.json").get("data")
    found = known if isinstance(known, Mapping) else {}
    return {name: own["sha256"] for name, own in found.items() if isinstance(own, Mapping) and own.get("sha256")}


def _pieces(domain: Domain) -> list[str]:
    """What is read for a kind of data."""
    names = {setting: piece for piece, setting in _SETTINGS.items()}
    return ["source", "test", *(names.get(setting, setting) for setting in domain.sources)]


def _given(config: TrainConfig, source: Any, pieces: Iterable[str]) -> dict[str, Any]:
    names = (each for each in pieces if " " not in each)  # the others are runs
    given = {each: source if each == "source" else config.setting(_SETTINGS.get(each, each)) for each in names}
    return {name: value for name, value in given.items() if value is not None}


def located(config: TrainConfig, domain: Domain) -> TrainConfig:
    """The config with absolute paths for the data that is there, so that a run can be resumed from any folder, and URLs for copies."""
    for setting in (_SETTINGS.get(piece, piece) for piece in _pieces(domain)):
        place = config.setting(setting)
        is_path = setting != "data.source" or domain.reads_files
        if (url := url_of(place)) is not None:
            config = config.with_setting(setting, url)
        elif place and is_path and _files_of(Path(place)):
            config = config.with_setting(setting, os.path.abspath(place))
    for setting in domain.models:
        runs = {
            name: os.path.abspath(run) if os.path.isdir(run) else run for name, run in config.setting(setting).items()
        }
        config = config.with_setting(setting, runs)
    return config


def check_unchanged(run: RunDirectory, config: TrainConfig, source: Any, domain_of: Any, *, again: str = "") -> None:
    """Refuse to resume with other data: the weights would belong to neither run.

    Args:
        domain_of: ``(config, source) ->`` the domain; asked only when the data is there.
        again: how it is said where the data is; empty is how a run is resumed.

    Raises:
        DataError: data that is not found.
        ConfigError: data that is not what the run was started with.
    """
    again = again or f"danlu.pipeline.resume({str(run.path)!r}, source=...)"
    recorded = run.read_json("source.json")
    known = recorded.get("data")
    if not isinstance(known, Mapping):  # of a version that knew the source alone, and of folders no contents
        is_file = isinstance(source, str | Path) and Path(source).is_file()
        known = {"source": {"path": str(source), "sha256": recorded.get("sha256")}} if is_file else {}
    given = _given(config, source, known)
    for name, own in known.items():
        if not isinstance(own, Mapping) or own.get("sha256") is None:
            continue
        there = given.get(name)
        if own.get("path") is None and isinstance(there, str | Path):
            raise ConfigError(
                f"the run {run.path} was trained on data in memory",
                hint=f"give it again: {again}",
            )
        if isinstance(there, str | Path) and not _files_of(Path(there)):
            hint = "put it back, or start a new run"
            if name == "source":
                hint = f"put it back, or say where it is now: {again}"
            raise DataError(f"the data {there}, which the run {run.path} was started with, is not found", hint=hint)
    now = data_of(config, source, domain_of(config, source))["data"] if known else {}
    for name, own in known.items():
        if own.get("sha256") is not None and own["sha256"] != now.get(name, {}).get("sha256"):
            raise ConfigError(
                f"the data {_shown(given.get(name, own.get('path')))} is not what the run {run.path} was started with",
                hint="put the file back as it was, or start a new run",
            )


def _shown(given: Any) -> str:
    return url_of(given) or str(given) if isinstance(given, str | Path) else f"given (a {type(given).__name__})"
