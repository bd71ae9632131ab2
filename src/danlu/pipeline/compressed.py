"""What a run keeps of the compression that it is."""

from __future__ import annotations

from typing import Any

from danlu.artifact import RunDirectory
from danlu.errors import ConfigError

__all__ = ["COMPRESSION", "check_trained_there", "compression_of"]

COMPRESSION = "compression.json"
"""The file of a run whose model was made of another run's: which one, and what was done."""


def compression_of(run: RunDirectory) -> dict[str, Any] | None:
    """The other run's folder as ``"run"`` and what was done as ``"techniques"``; None of a run that was trained."""
    return run.read_json(COMPRESSION) if (run.path / COMPRESSION).is_file() else None


def check_trained_there(run: RunDirectory, command: str) -> None:
    """Refuse a run whose model was not trained in it but compressed.

    Args:
        command: what to do with the run that was trained instead, such as ``danlu replay {} --step 3``.

    Raises:
        ConfigError: see above.
    """
    found = compression_of(run)
    if found is not None:
        raise ConfigError(
            f"the run {run.path} is a compressed model, which was not trained there but made from the run {found['run']}",
            hint=command.format(found["run"]),
        )
