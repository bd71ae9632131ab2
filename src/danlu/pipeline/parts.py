"""What commands find out about a run after its training, kept with it: numbers in ``results.json``, a part of the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from danlu.artifact import RunDirectory
from danlu.errors import ArtifactError, ConfigError
from danlu.report.parts import PLACES, add_part
from danlu.trained import Labels, Say, Trained
from danlu.trained.read import warn

__all__ = ["keep_part", "kept_parts", "places_for"]

_PARTS = "parts.json"
"""The file of a run with the parts of its report that were added: of each its titles and HTML."""


def keep_part(
    folder: str | Path, name: str, sections: Sequence[tuple[str, str]], data: Any, *, say: Say = warn
) -> bool:
    """Keep what was found with its run, instead of what was found before; of what is no run, nothing is kept.

    The numbers go into ``results.json``, the pictures into ``report.html`` where there is one, now and when it is written again.

    Args:
        folder: of a trained model; a run's is one with results.
        name: of the part, one of :data:`danlu.report.parts.PLACES`.
        sections: its titles and HTML.
        data: the same as plain data.
        say: called where it cannot be kept, and why.

    Returns:
        Whether the report has it now.
    """
    folder = Path(folder)
    if not ((folder / "config.json").is_file() and (folder / "results.json").is_file()):
        return False
    run = RunDirectory(folder)
    try:
        with run.locked():
            run.write_json("results.json", {**run.read_json("results.json"), name: data})
            run.write_json(_PARTS, {**kept_parts(run), name: [list(each) for each in sections]})
            if not run.report_path.is_file():
                return False
            if add_part(run.report_path, name, sections):
                return True
            say(
                f"the report is by an older danlu and has no place for this; to write it anew: danlu report {run.path} --again"
            )
    except (ArtifactError, ConfigError, OSError) as error:
        say(f"this was not added to the report of the run: {getattr(error, 'message', error)}")
    return False


def kept_parts(run: RunDirectory) -> dict[str, list[tuple[str, str]]]:
    """The parts of the report that were added to a run, by their names."""
    if not (run.path / _PARTS).is_file():
        return {}
    return {name: [(title, content) for title, content in each] for name, each in run.read_json(_PARTS).items()}


def places_for(trained: Trained, *, apart: bool = False) -> dict[str, tuple[str, str]]:
    """The parts that can be added to the report of such a model: what each shows, and its command.

    Args:
        apart: whether its rows are of clients; what trains on all in one place is then no part.
    """
    labelled = isinstance(trained.head, Labels)
    there = {
        "receipts": "compression" in trained.provenance,
        "explained": trained.kind == "table",
        "stress": labelled and trained.kind in ("table", "image"),
        "attack": labelled and not apart,
        "canaries": labelled and not apart,
    }
    return {name: told for name, told in PLACES.items() if there[name]}
