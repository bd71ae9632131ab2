"""A table's scorecard in the pipeline: what it goes together with, its training, and danlu's default model beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from danlu.errors import ConfigError
from danlu.nn.scorecard import Scorecard
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Beside, Simple
from danlu.pipeline.labelled import PreparedRows
from danlu.stages import stage
from danlu.tasks import CardSettings, Recipe, learn, plan_for
from danlu.tasks.scorecard import Carded, card_recipe, carded, pointed
from danlu.trained import Learned, Trained
from danlu.trained.points import PointsCard

__all__ = ["CARD", "card_of_rows", "check_card", "default_beside", "finished_card", "is_card", "plan_card", "with_card"]

_NAMES = tuple(CardSettings.__dataclass_fields__)
CARD = tuple(
    Beside(f"scorecard.{name}", lambda config: is_card(config), "it is for a scorecard: model.kind=scorecard")
    for name in _NAMES
)
"""When the settings of a scorecard count."""


def is_card(config: TrainConfig) -> bool:
    """Whether a scorecard is asked for."""
    return config.model.kind == "scorecard"


def check_card(config: TrainConfig, task: str) -> None:
    """Refuse what cannot be together with a scorecard.

    Raises:
        ConfigError: a target that is not of two classes, or a setting of other models.
    """
    if task != "binary":
        what = "a quantity" if task == "regression" else "of more classes"
        raise ConfigError(
            f"model.kind=scorecard is for two classes; this target is {what}", hint="leave model.kind and --preset out"
        )
    others = {
        **{
            f"model.{name}": getattr(config.model, name)
            for name in ("members", "width", "depth", "dropout", "ensemble")
        },
        "trainer.adversarial": config.trainer.adversarial,
        "trainer.snapshots": config.trainer.snapshots,
        "trainer.weight_decay": config.trainer.weight_decay,
        "split.folds": config.split.folds if (config.split.folds or 1) > 1 else None,
        "fairness.mitigate": "penalty" if config.fairness.mitigate == "penalty" else None,
    }
    for name, value in others.items():
        if value is not None:
            raise ConfigError(
                f"{name} is {value}, but would not be used: a scorecard is one layer, which learns one weight for each column",
                hint="leave it out, or leave model.kind=scorecard out",
            )


def card_of_rows(config: TrainConfig, prepared: PreparedRows) -> Carded:
    """The bins of the training rows."""
    if not isinstance(prepared.train, tuple):
        raise ConfigError(
            "model.kind=scorecard is for tables in memory, and this one is read as a stream",
            hint="use data.stream=false",
        )
    inputs, labels, weight = (*prepared.train, None)[:3]
    return carded(inputs, np.asarray(labels), weight, prepared.encoder, config.scorecard)


def plan_card(config: TrainConfig, prepared: PreparedRows) -> Recipe:
    """How the weights of the card are learnt."""
    check_card(config, prepared.target.task)
    return card_recipe(card_of_rows(config, prepared), prepared.rows["train"], **config.decided("loss"))


def finished_card(config: TrainConfig, prepared: PreparedRows, learned: Any) -> Learned:
    """A scorecard: ``learned`` trains the network, given where it begins and what is done to it at the end."""
    card = card_of_rows(config, prepared)
    found: Learned = learned(
        initial=[(card.params, card.state)], finish=lambda model: pointed(model, card, config.scorecard)
    )
    used = int((np.asarray(found.model.params["weight"]) > 0).sum())
    lost = sum(own is not None for own in card.bins) - used
    notes = [*card.notes]
    if lost:
        notes.append(
            "scorecard: 1 column was given no points: beside the others it would speak against what it says alone"
            if lost == 1
            else f"scorecard: {lost} columns were given no points: beside the others they would speak against what they say alone"
        )
    return dataclasses.replace(found, notes=(*found.notes, *notes))


def default_beside(config: TrainConfig, prepared: PreparedRows, trained: Trained, ours: Any) -> Iterable[Simple]:
    """danlu's default model of the same rows: what a card that can be read costs."""
    if not (is_card(config) and config.scorecard.compare):
        return
    target, encoder = prepared.target, prepared.encoder
    with stage("training the default model, to compare"):
        own = learn(
            prepared.train,
            encoder=encoder,
            target=target,
            plan=plan_for(encoder, target, prepared.rows["train"], **config.decided("loss")),
            validation=prepared.validation,
            rows=prepared.rows["train"],
            imbalance=config.imbalance,
            answers=config.answers,
            seed=config.trainer.seed,
            display="none",
        )
    answers = np.asarray(own.model.answer(prepared.test[0] if prepared.test is not None else None))
    notes = (f"it is {own.model.mixture}",) if own.model.mixture else ()
    yield Simple(
        "danlu's default model",
        ours.with_prediction(answers),
        notes=notes,
        instead="leave model.kind=scorecard out to train it alone",
    )


def with_card(fields: dict[str, Any], trained: Trained) -> dict[str, Any]:
    """The fields of a report, with the card of a model that is one before its other parts."""
    if not isinstance(trained.network, Scorecard):
        return fields
    from danlu.report.scorecard import card_section

    return {**fields, "sections": [card_section(PointsCard.of(trained)), *fields.get("sections", ())]}
