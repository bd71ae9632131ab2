"""Each client's own version of a model, in a run."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from danlu.artifact import RunDirectory, load_artifact
from danlu.artifact.artifact import is_saved
from danlu.evaluate.clients import ClientScores
from danlu.pipeline.owners import Owners
from danlu.trained import Trained

__all__ = ["keep_clients", "kept_clients"]


def keep_clients(run: RunDirectory, model: Trained, found: ClientScores) -> None:
    """Save each client's own version of the model, where it has one, in ``clients/NAME`` of the run."""
    for folder, (params, state) in zip(_folders(run, list(found.models)), found.models.values(), strict=True):
        dataclasses.replace(model, params=params, state=state).save(folder)


def kept_clients(run: RunDirectory, owners: Owners) -> list[Any]:
    """The variables that :func:`keep_clients` saved, of each client in order; none where there are none."""
    folders = _folders(run, list(owners.names))
    if not all(is_saved(folder) for folder in folders):
        return []
    saved = [load_artifact(folder) for folder in folders]
    return [(each.params, each.state) for each in saved]


def _folders(run: RunDirectory, names: list[str]) -> list[Path]:
    """The folder of each client."""
    taken: dict[str, None] = {}
    for name in names:
        folder = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "client"
        while folder in taken:
            folder += "-"
        taken[folder] = None
    return [run.path / "clients" / folder for folder in taken]
