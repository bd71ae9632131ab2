"""Data from pipes and at URLs: in a file before it is read; what came through a pipe is saved in the run, which could not be resumed
without it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from danlu.data.intake import is_pipe, spool
from danlu.data.remote import brought
from danlu.errors import ConfigError
from danlu.files import is_url
from danlu.pipeline.config import TrainConfig

__all__ = ["kept_names", "taken_in", "with_kept"]


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
    """The config as the run keeps it, with names in its own folder for what came through pipes, and those files by name."""
    names: dict[str, Path] = {}
    for setting in ("source", "test"):
        place = getattr(config.data, setting)
        file = next((file for file in files if place is not None and Path(place) == file), None)
        if file is not None:
            name = f"{setting}-{file.name}"
            names[name] = file
            config = config.with_setting(f"data.{setting}", name)
    return config, names


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
    return config
