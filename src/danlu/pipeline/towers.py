"""Towers that begin with the layers of saved models: which run is for which column, what fits it, and what is said of it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from danlu.artifact import load_artifact
from danlu.artifact.signing import TRUSTED
from danlu.data.composite import Composite
from danlu.data.images import ImageEncoder
from danlu.data.seen import seen_from
from danlu.data.sounds import SoundEncoder
from danlu.data.text import TextEncoder
from danlu.errors import ConfigError, DanluError, first_line, unknown_name
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Beside
from danlu.pipeline.fingerprint import model_of
from danlu.tasks.trunks import NOUNS, Trunk, placed, trunk_of
from danlu.trained.load import check_variables
from danlu.trained.save import SEEN

__all__ = ["BESIDE", "SETTING", "begun", "learnt_before", "said_of", "taken_over", "trunks_of"]

SETTING = "tower.begin"
_KINDS: Mapping[str, Any] = {"image": ImageEncoder, "sound": SoundEncoder, "text": TextEncoder, "mixed": Composite}

BESIDE = (
    *(
        Beside(f"tower.{name}", lambda config: bool(config.tower.begin), "add --from COLUMN=RUN, of a trained model")
        for name in ("rate", "compare")
    ),
    Beside(
        SETTING,
        lambda config: not config.federated.active,
        "rounds of clients begin with fresh weights",
    ),
)
"""Which settings of the towers count only beside others."""


def trunks_of(config: TrainConfig, encoder: Composite) -> dict[str, Trunk]:
    """What each tower that is to begin with another model begins with, by its column.

    Args:
        encoder: fitted to the rows that are to be learnt from.

    Raises:
        ConfigError: no such column, or a model that does not fit it.
        ArtifactError: there is no saved model.
    """
    parts, found = dict(encoder.parts), {}
    for column, run in config.tower.begin.items():
        if column not in parts:
            raise unknown_name("column of texts, pictures or recordings in tower.begin", column, parts)
        own = _trunk(column, str(run), parts[column])
        _check_size(config, column, str(run), own.encoder)
        found[column] = dataclasses.replace(own, rate=config.tower.rate)
    return found


def _trunk(column: str, run: str, wanted: Any) -> Trunk:
    """The trained layers of a run for a column that ``wanted`` would encode."""
    artifact, noun = load_artifact(model_of(run), trusted=os.environ.get(TRUSTED)), NOUNS[type(wanted)]
    described: Mapping[str, Any] = artifact.encoder if isinstance(artifact.encoder, Mapping) else {}
    kind = str(described.get("kind"))
    if kind not in _KINDS or artifact.head is None or "each" in described:
        raise ConfigError(
            f"{run} cannot be begun with for the column {column!r}: its model has no layers for {noun} alone",
            hint="expected a run on pictures, recordings or texts with one label each, or of several modalities, without --folds",
        )
    encoder, of = _KINDS[kind].from_state(described, artifact.encoder_arrays), None
    check_variables(artifact.model, encoder.in_shape, artifact.params, artifact.state)
    if isinstance(encoder, Composite):
        some = {name: part for name, part in encoder.parts if type(part) is type(wanted)}
        of = column if column in some else next(iter(some)) if len(some) == 1 else None
        if of is None:
            there = f"the columns {', '.join(some)}" if some else f"no column of {noun}"
            raise ConfigError(
                f"{run} has {there}; expected one of {noun} called {column!r}, with whose tower that of {column!r} could begin"
            )
        encoder = some[of]
    if type(encoder) is not type(wanted):
        raise ConfigError(f"{run} learnt from {NOUNS[type(encoder)]}, and the column {column!r} holds {noun}")
    if isinstance(encoder, TextEncoder):
        encoder = dataclasses.replace(encoder, column=column)
    try:
        found = trunk_of(artifact.model, artifact.params, artifact.state, encoder, of)
        if of is not None or SEEN not in artifact.files:
            return found
        units = artifact.model.out_shape(encoder.in_shape)[-1]
        return dataclasses.replace(found, seen=seen_from(artifact.files[SEEN]), classes=units)
    except DanluError as error:
        raise ConfigError(f"{run} cannot be begun with for the column {column!r}: {first_line(error)}") from error


def _check_size(config: TrainConfig, column: str, run: str, encoder: Any) -> None:
    size = config.data.image_size
    if size is not None and isinstance(encoder, ImageEncoder) and (encoder.height, encoder.width) != (size, size):
        raise ConfigError(
            f"data.image_size is {size}, and the tower of {column!r} begins with {run}, which sees pictures of "
            f"{encoder.height}×{encoder.width}",
            hint="leave data.image_size out: the pictures are then read as there",
        )


def taken_over(encoder: Composite, trunks: Mapping[str, Trunk], runs: Mapping[str, str]) -> tuple[Composite, list[str]]:
    """The encoder that reads these columns as the models did that their towers begin with, and what is to be said of that."""
    said, parts = [], []
    for name, own in encoder.parts:
        if name not in trunks:
            parts.append((name, own))
            continue
        new = trunks[name].encoder
        parts.append((name, new))
        said.append(f"the tower of {name} begins with {Path(runs[name]).name}: {_read_as(own, new)}")
    return dataclasses.replace(encoder, parts=tuple(parts)), said


def _read_as(own: Any, new: Any) -> str:
    """How a column is read by another model's encoder, and what of it is lost by that."""
    if isinstance(new, TextEncoder):
        return f"texts are read by its {new.tokenizer.size:,} words; others are unknown to the words' part"
    height, width, channels = new.in_shape
    if isinstance(new, SoundEncoder):
        return f"recordings are read as there, as pictures of {height}×{width} at {new.rate:,} samples a second"
    lost = ", so that colours are not seen" if channels < own.channels else ""
    return f"pictures are read as there, {height}×{width} in {'colour' if channels == 3 else 'grey'}{lost}"


def learnt_before(trunks: Mapping[str, Trunk], runs: Mapping[str, str], test: Any) -> list[str]:
    """Notices of test rows that the models have learnt from which towers begin with.

    Args:
        test: the encoded test rows; None where there are none.
    """
    said = []
    for name, trunk in trunks.items() if test is not None else ():
        run, count = Path(runs[name]).name, trunk.learnt_from(test["parts"][name])
        if count is None:
            said.append(
                f"whether {run} has learnt from the test rows cannot be told; the test is honest only if it has not"
            )
        elif count:
            rows = len(test["present"])
            said.append(
                f"{run} has learnt from the {name} of {count:,} of the {rows:,} test rows, with labels: the test is too good for new ones"
            )
    return said


def begun(trunks: Mapping[str, Trunk], model: Any, drawn: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """What each network begins with: as it was drawn, with the trunks in their places."""
    return [placed(each, model.names, trunks) for each in drawn]


def said_of(config: TrainConfig, trunks: Mapping[str, Trunk]) -> str:
    """With what a model's towers began, in a sentence; empty where all were fresh."""
    if not trunks:
        return ""
    of = ", ".join(f"{name} with {Path(str(config.tower.begin[name])).name}" for name in trunks)
    rate = config.tower.rate
    how = "which stays as it is" if rate == 0 else f"which learns at {rate:g} of the learning rate"
    return f"towers began with trained models: {of}, {how}"
