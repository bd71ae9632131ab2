"""A trained model to disk: one way for every kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from danlu.artifact import save_artifact
from danlu.artifact.save import default_provenance
from danlu.data.fields import fields_json
from danlu.data.seen import seen_bytes
from danlu.evaluate.histograms import profile_bytes
from danlu.evaluate.kept import kept_bytes
from danlu.trained.card import CARD, card

if TYPE_CHECKING:
    from danlu.trained.trained import Trained

__all__ = ["KEPT", "PROFILE", "SEEN", "save"]

SEEN, KEPT, PROFILE = "seen.safetensors", "baselines.safetensors", "profile.json"  # files of the artifact


def save(
    trained: Trained,
    folder: str | Path,
    *,
    metrics: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write a trained model to a folder, with its card.

    Args:
        metrics, provenance: plain data to record with it; None keeps the model's own.

    Raises:
        ArtifactError: a part that cannot be saved, or a folder that cannot be written.
    """
    told = dataclasses.replace(
        trained,
        metrics=trained.metrics if metrics is None else metrics,
        provenance=default_provenance() | dict(trained.provenance if provenance is None else provenance),
    )
    encoder, encoder_arrays = trained.encoder.state()
    head, head_arrays = trained.head.state()
    return save_artifact(
        folder,
        model=trained.network,
        variables=(trained.params, trained.state),
        task={"kind": trained.kind, "name": trained.task},
        schema=fields_json(trained.fields),
        encoder=encoder,
        encoder_arrays=encoder_arrays,
        head={"kind": trained.head.kind, **head},
        head_arrays=head_arrays,
        metrics=told.metrics,
        provenance=told.provenance,
        beside={CARD: str(card(told))},
        files={
            **({} if trained.seen is None else {SEEN: seen_bytes(trained.seen)}),
            **({KEPT: kept_bytes(trained.kept)} if trained.kept else {}),
            **({PROFILE: profile_bytes(trained.profile)} if trained.profile else {}),
        },
    )
