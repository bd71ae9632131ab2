"""The kinds of data that can be learnt from, and which one a source or a saved model is of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from danlu.artifact import load_artifact
from danlu.errors import ArtifactError, ConfigError
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain
from danlu.pipeline.images import Images
from danlu.pipeline.language import LanguageTexts
from danlu.pipeline.model import Model
from danlu.pipeline.series import SeriesForecasts
from danlu.pipeline.tables import Tables
from danlu.pipeline.text import Texts

__all__ = ["DOMAINS", "domain_of", "load"]

DOMAINS: tuple[Domain, ...] = (SeriesForecasts(), Images(), LanguageTexts(), Texts(), Tables())
"""The first one that claims a source has it; tables, which claim all, come last."""


def domain_of(config: TrainConfig, source: Any) -> Domain:
    """The domain that ``source`` belongs to."""
    for domain in DOMAINS:
        if domain.claims(config, source):
            return domain
    raise ConfigError(f"{source!r} is nothing that can be learnt from")


def load(path: str | Path) -> Model:
    """The trained model of a run directory, or of an artifact folder.

    Raises:
        ArtifactError: there is none, or it is damaged.
    """
    folder = Path(path)
    unfinished = (folder / "config.json").is_file() and not (folder / "artifact").is_dir()
    if unfinished:
        raise ArtifactError(f"the run {folder} has no model yet", hint=f"finish it: danlu train --resume {folder}")
    artifact = load_artifact(folder / "artifact" if (folder / "artifact").is_dir() else folder)
    described = artifact.encoder
    kind = described.get("kind", Tables.kind) if isinstance(described, Mapping) else Tables.kind
    for domain in DOMAINS:
        if domain.kind == kind:
            return domain.load(artifact)
    raise ArtifactError(f"{folder} holds a model of kind {str(kind)[:40]!r}; this version knows {_kinds()}")


def _kinds() -> str:
    return ", ".join(sorted(domain.kind for domain in DOMAINS))
