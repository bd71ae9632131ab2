"""What a run keeps of where it branched off from another one."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from danlu.artifact import RunDirectory
from danlu.engine.training import CHECKPOINT
from danlu.errors import ArtifactError, ConfigError

__all__ = [
    "BRANCH",
    "CONTINUED",
    "START",
    "Branch",
    "check_fresh",
    "in_words",
    "is_branch",
    "is_continued",
    "with_start",
]

BRANCH = "branch.json"
"""The file of a run that says where it branched off."""
CONTINUED = "continued.json"
"""The file of a run that began with the weights of another one: which, and with how many of its rows."""
START = "branch.safetensors"
"""The file of such a run that holds the state of the training there."""


@dataclasses.dataclass(frozen=True)
class Branch:
    """Where a run branched off from another one.

    Attributes:
        run: the other one's folder.
        step: the update (from 0) before which it did; ``epoch`` (from 0) is the one that it is of.
        settings: what was changed there, by dotted names: the value before and after.
        exact: whether the updates before are the other run's to the last bit.
    """

    run: str
    step: int
    epoch: int
    settings: Mapping[str, tuple[Any, Any]]
    exact: bool

    @classmethod
    def of(cls, run: RunDirectory) -> Branch | None:
        """That of a run; None where it did not branch off."""
        if not (run.path / BRANCH).is_file():
            return None
        said = run.read_json(BRANCH)
        try:
            settings = {str(name): (old, new) for name, (old, new) in said["settings"].items()}
            return cls(str(said["run"]), int(said["step"]), int(said["epoch"]), settings, bool(said["exact"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"{run.path / BRANCH} is damaged: {error!r}") from error

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**dataclasses.asdict(self), "settings": {name: list(pair) for name, pair in self.settings.items()}}

    def __str__(self) -> str:
        told = f"{self.run} before update {self.step:,}, in epoch {self.epoch + 1}: {in_words(self.settings)}"
        return told if self.exact else f"{told}; what was before is not that run's to the last bit"


def in_words(settings: Mapping[str, tuple[Any, Any]]) -> str:
    """Changes of settings, such as ``trainer.learning_rate 0.006 → 0.001``."""
    return ", ".join(f"{name} {_shown(old)} → {_shown(new)}" for name, (old, new) in settings.items()) or "no change"


def _shown(value: Any) -> str:
    return "by default" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def is_branch(run: RunDirectory) -> bool:
    """Whether the run branched off from another one."""
    return (run.path / START).is_file()


def is_continued(run: RunDirectory) -> bool:
    """Whether the run began with the weights of another one, and went on with new rows."""
    return (run.path / CONTINUED).is_file()


def check_fresh(run: RunDirectory, what: str) -> None:
    """Refuse a run that went on from another one, where its training would be done from its settings alone.

    Raises:
        ConfigError: see above.
    """
    if is_continued(run):
        before = run.read_json(CONTINUED).get("run")
        raise ConfigError(
            f"{run.path} goes on from {before}, and cannot be {what} by itself",
            hint=f"danlu train --from {before} FILE does it anew",
        )


def with_start(run: RunDirectory, folder: Path) -> Path:
    """The folder of checkpoints, with the state that a branch starts from where there is no later one."""
    if is_branch(run) and not (folder / CHECKPOINT).exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run.path / START, folder / CHECKPOINT)
    return folder
