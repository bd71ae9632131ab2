"""Data from pipes and at URLs: in a file before it is read; what came through a pipe is saved in the run, which could not be resumed
without it, and so is the model that an agent begins with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from danlu.artifact import RunDirectory
from danlu.data.intake import is_pipe, spool
from danlu.data.remote import brought
from danlu.errors import ConfigError
from danlu.files import is_url
from danlu.pipeline.config import TrainConfig

__all__ = ["POLICY", "kept_names", "model_folder", "taken_in", "with_kept"]

POLICY = "policy-"
"""What the name of a folder within a run begins with that holds the model whose policy its agent began with."""


@contextlib.contextmanager
def taken_in(config: TrainConfig, root: str | Path | None = None) -> Iterator[tuple[TrainConfig, tuple[Path, ...]]]:
    """The config with files in place of the pipes and URLs that it names, and the files of pipes, which go at the end.

    Args:
        root: where they are put; None is the folder for temporary files.

    Raises:
        ConfigError: one pipe for two things.
        DataError: a pipe that cannot be read, a device.
    """
    source, test = config.data.source, config.data.test
    if test is not None and is_pipe(test) and str(source) == str(test):
        raise ConfigError(f"{test} cannot be the source and the test rows: it can be read once")
    with spool(source, root) as first, spool(test, root) as second:
        files = tuple(Path(new) for old, new in ((source, first), (test, second)) if is_pipe(old))
        if (first, second) != (source, test):
            config = config.replace(
                data=config.data.replace(source=str(first), test=None if second is None else str(second))
            )
        yield config, files


def kept_names(config: TrainConfig, files: tuple[Path, ...]) -> tuple[TrainConfig, dict[str, Path]]:
    """The config as the run keeps it, with names in its own folder for what came through pipes and for the model whose policy it begins
    with, and those files by name."""
    names: dict[str, Path] = {}
    for setting in ("source", "test"):
        place = getattr(config.data, setting)
        file = next((file for file in files if place is not None and Path(place) == file), None)
        if file is not None:
            name = f"{setting}-{file.name}"
            names[name] = file
            config = config.with_setting(f"data.{setting}", name)
    if config.agent.policy is not None:
        folder = model_folder(config.agent.policy)
        name = policy_name(config.agent.policy)
        names |= {f"{name}/{file.name}": file for file in folder.iterdir() if file.is_file()}
        config = config.with_setting("agent.policy", name)
    return config, names


def model_folder(place: str) -> Path:
    """The folder of the model of a run, or of one that is saved by itself."""
    own = RunDirectory(place).artifact_path
    return own if own.is_dir() else Path(place)


def policy_name(place: str) -> str:
    """What the copy of the model is called in the run that begins with its policy; a copy keeps its name."""
    return f"{POLICY}{Path(place).resolve().name.removeprefix(POLICY)}"


def with_kept(config: TrainConfig, run: Path) -> TrainConfig:
    """The config of a run with the paths of what it keeps in its own folder, and of what it names by URL, which is copied here.

    Raises:
        DataError: it cannot be read there; see :func:`~danlu.data.remote.brought`.
    """
    for setting in ("source", "test"):
        name = getattr(config.data, setting)
        if name and Path(name).name == name and name.startswith(f"{setting}-") and (run / name).is_file():
            config = config.with_setting(f"data.{setting}", str(run / name))
        elif is_url(name):
            config = config.with_setting(f"data.{setting}", brought(name))
    policy = config.agent.policy
    if policy is not None and Path(policy).name == policy and policy.startswith(POLICY) and (run / policy).is_dir():
        config = config.with_setting("agent.policy", str(run / policy))
    return config
