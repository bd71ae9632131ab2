"""Pictures without labels, from which a network of pictures learns first: how they are read, and what it is compared with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from danlu.data.images import ImageEncoder, read_images
from danlu.data.images.files import digests
from danlu.engine import JSONLogger
from danlu.errors import ConfigError, DataError, TrainingError
from danlu.evaluate.baselines import baselines
from danlu.interrupt import told
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Beside, Option, Simple
from danlu.pipeline.pixels import border, memory_of
from danlu.stages import stage
from danlu.tasks import Recipe
from danlu.tasks.pretrain import body_of, pretrain, pretrain_recipe, with_body

__all__ = ["BESIDE", "PRETRAIN", "Unlabelled", "begun", "probed", "read_unlabelled", "said_of"]

PRETRAIN = Option(
    "--pretrain",
    "pretrain.source",
    "Learn first from the pictures of this folder or npz file, without labels; then from the labelled ones.",
)
_FEWEST = 32  # pictures
_OF = {"contrast": ("temperature", "strength", "dim"), "masked": ("hidden",)}
_GENERAL = ("objective", "epochs", "batch_size", "learning_rate", "compare")


def _is_on(config: TrainConfig) -> bool:
    return config.pretrain.source is not None


BESIDE = (
    *(
        Beside(f"pretrain.{name}", _is_on, "add --pretrain FOLDER, with pictures without labels")
        for name in (*_GENERAL, *_OF["contrast"], *_OF["masked"])
    ),
    *(
        Beside(
            f"pretrain.{name}",
            lambda config, objective=objective: config.pretrain.objective == objective,  # type: ignore[misc]
            f"it is for pretrain.objective={objective}",
        )
        for objective, names in _OF.items()
        for name in names
    ),
    Beside(
        "pretrain.source",
        lambda config: not config.private.on,
        "the training is private, and would learn from these pictures without noise",
    ),
    Beside(
        "pretrain.source",
        lambda config: not config.federated.active,
        "rounds of clients begin with fresh weights, and these pictures are of no client",
    ),
)
"""Which settings of the pretraining count only beside others."""


@dataclasses.dataclass(frozen=True, eq=False)
class Unlabelled:
    """Encoded pictures without labels.

    Attributes:
        pictures: uint8 ``(pictures, height, width, channels)``.
        tested: how many were left out since they are test pictures.
        bodies: where the pretrained body's ``(params, state)`` is put, once it is known.
    """

    pictures: np.ndarray
    tested: int
    bodies: list[Any] = dataclasses.field(default_factory=list)


def read_unlabelled(
    config: TrainConfig, encoder: ImageEncoder, test: np.ndarray | None
) -> tuple[Unlabelled, list[str]]:
    """The pictures of ``pretrain.source`` without those of the test, and what is to be said of them.

    Args:
        encoder: fitted to the labelled training pictures.
        test: the encoded test pictures; None where there are none.

    Raises:
        DataError: pictures that cannot be read, or too few of them.
        ConfigError: more than may be held in memory.
    """
    source = str(config.pretrain.source)
    found = read_images(source, memory=memory_of(config.data))
    size = len(found) * int(np.prod(encoder.in_shape))
    if size > config.data.memory * 2**20:
        raise ConfigError(
            f"pretraining holds its pictures in memory: {len(found):,} of {source} take {size / 2**20:,.0f} MiB, and data.memory is "
            f"{config.data.memory}",
            hint="expected fewer pictures, a smaller data.image_size or a larger data.memory",
        )
    pictures, said = encoder.transform(found.images), [f"{source}: {notice}" for notice in found.notices]
    shared = np.zeros(len(pictures), bool)
    if test is not None:
        known = set(digests(test))
        shared = np.fromiter((each in known for each in digests(pictures)), bool, len(pictures))
    count = int(shared.sum())
    if count:
        said.append(
            f"{count:,} of {len(pictures):,} pictures of {source} are test pictures; pretraining leaves them out"
        )
    pictures = pictures[~shared]
    if len(pictures) < _FEWEST:
        raise DataError(
            f"{source} has {len(pictures)} pictures to pretrain on{', without those of the test' if count else ''}; "
            f"expected {_FEWEST} at least"
        )
    labels = "" if found.labels is None else ", whose labels are not looked at"
    said.append(f"pretraining on {len(pictures):,} pictures of {source}{labels}")
    return Unlabelled(pictures, count), said


def begun(
    config: TrainConfig, unlabelled: Unlabelled, plan: Recipe, sample: np.ndarray, **how: Any
) -> tuple[list[tuple[Any, Any]], dict[str, Any]]:
    """What each network of ``plan`` begins with after pretraining, and the record of it.

    Args:
        sample: encoded training pictures.
        **how: ``callbacks``, ``checkpoint``, ``resume`` and ``display`` of the training that follows. The checkpoints are in a
            folder within its own, so that both are resumed exactly; of the callbacks only those come along that watch all trainings.

    Raises:
        TrainingError: it was stopped.
    """
    import jax

    asked, pictures = config.pretrain, unlabelled.pictures
    recipe, objective = pretrain_recipe(
        asked, plan, len(pictures), pictures.shape[1:], flip=config.augment.flip, fill=border(pictures) / 127.5 - 1
    )
    place = None if how.get("checkpoint") is None else Path(how["checkpoint"]) / "pretraining"
    callbacks = [each for each in how.get("callbacks", ()) if each.everywhere]
    if place is not None:
        callbacks.append(JSONLogger(place.parent.parent / "pretraining.jsonl"))
    with stage("pretraining"):
        fitted = pretrain(
            recipe,
            objective,
            pictures,
            seed=config.trainer.seed,
            **{**how, "checkpoint": place, "callbacks": callbacks},
        )
    if fitted.stopped_by is not None:
        error = TrainingError(f"{told(fitted.stopped_by)} while it was pretrained; what was learned is kept")
        error.stopped_by = fitted.stopped_by
        raise error
    first, body = body_of(plan.model)
    ours = tuple(part[1] for part in (fitted.params, fitted.state))
    drawn = [plan.initial(key, sample) for key in plan.keys(jax.random.key(config.trainer.seed))]
    if asked.objective == "masked":  # which has no mean over places; there is nothing to be learnt in it
        ours = tuple((*part, {}) for part in ours)
    unlabelled.bodies[:] = [(body, *ours)]
    losses = [row["loss"] for row in fitted.history]
    record = {
        "objective": asked.objective,
        "source": Path(str(asked.source)).name,
        "pictures": len(pictures),
        "tested": unlabelled.tested,
        "epochs": len(losses),
        "loss": [losses[0], losses[-1]] if losses else [],
    }
    return [with_body(one, first, ours) for one in drawn], record


def said_of(record: dict[str, Any]) -> str:
    """What a pretraining was, in a sentence."""
    what = {"contrast": "two views of each picture told from others", "masked": "hidden parts drawn from the rest"}
    left = f"; {record['tested']:,} test pictures among them were left out" if record["tested"] else ""
    first, last = record["loss"] or (float("nan"),) * 2
    return (
        f"the network was first trained on {record['pictures']:,} pictures of {record['source']} without labels "
        f"({what[record['objective']]}; epochs: {record['epochs']}, loss {first:.3g} to {last:.3g}{left})"
    )


def probed(config: TrainConfig, unlabelled: Unlabelled, prepared: Any, ours: Any) -> Iterable[Simple]:
    """The test of a linear model of the pretrained features, which themselves learn nothing from labels."""
    import jax

    if not unlabelled.bodies:
        return
    body, params, state = unlabelled.bodies[0]

    @jax.jit
    def features(pictures: Any) -> Any:
        return body.apply(params, state, pictures.astype(np.float32) / 127.5 - 1, train=False)[0]

    def seen(pictures: np.ndarray) -> dict[str, np.ndarray]:
        batches = [pictures[first : first + 256] for first in range(0, len(pictures), 256)]
        full = [np.resize(each, (256, *each.shape[1:])) for each in batches]  # of one size: one compilation
        return {
            "numeric": np.concatenate([np.asarray(features(a))[: len(b)] for a, b in zip(full, batches, strict=True)])
        }

    inputs, labels = prepared.known()
    found = baselines(
        prepared.target.task,
        (seen(inputs), labels),
        seen(prepared.test[0]),
        classes=prepared.target.units,
        seed=config.trainer.seed,
        names=("linear",),
    )
    for each in found.values():
        yield Simple("a linear model of the pretrained features", ours.with_prediction(each.prediction), constant=False)
