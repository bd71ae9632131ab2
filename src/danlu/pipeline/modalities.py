"""What stands beside a model of several modalities: each of them alone, their mean, and what each contributes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl

from danlu.data.composite import TABLE, Composite
from danlu.evaluate import Importance, Rows, permutation_importance, related_columns
from danlu.evaluate.modalities import MOST, Contribution, share_of_score
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Simple
from danlu.pipeline.labelled import PreparedRows
from danlu.stages import stage
from danlu.tasks import Recipe, image_recipe, learn, plan_for, text_recipe
from danlu.trained import Trained

__all__ = ["contributions", "relied_on", "singles", "told_of"]

_RELATED_ROWS = 5000
_MACHINE = ("precision", "devices", "sharding", "tensor")
_PLACE = "·place"  # of a row, in the place of its text, picture or recording


def singles(
    config: TrainConfig,
    prepared: PreparedRows,
    trained: Trained,
    ours: Any,
    alone: Callable[[TrainConfig, PreparedRows, Composite], Recipe],
) -> Iterable[Simple]:
    """The test of each modality alone, by danlu's own recipe for its kind, and of the mean of their answers.

    Args:
        alone: the recipe of some modalities, for what has none of its own.
    """
    encoder, target = prepared.encoder, prepared.target
    if len(encoder.modalities) < 2 or prepared.test is None:
        return
    answers = []
    for name, kind in zip(encoder.modalities, encoder.kinds, strict=True):
        part = encoder.only([name])
        own, inputs = _of_its_kind(config, prepared, part, name, kind)
        plan = own or alone(config, prepared, part)
        with stage(f"training {name} alone, to compare"):
            learned = learn(
                (inputs(prepared.train[0]), prepared.train[1]),
                encoder=part,
                target=target,
                plan=plan,
                validation=None
                if prepared.validation is None
                else (inputs(prepared.validation[0]), prepared.validation[1]),
                imbalance=config.imbalance,
                kind="network",
                seed=config.trainer.seed,
                display="none",
            )
        answers.append(learned.model.answer(inputs(prepared.test[0])))
        yield Simple(f"{name} alone", ours.with_prediction(answers[-1]), constant=False)
    yield Simple("the mean of these", ours.with_prediction(np.mean(answers, axis=0)), constant=False)


def _of_its_kind(
    config: TrainConfig, prepared: PreparedRows, part: Composite, name: str, kind: str
) -> tuple[Recipe | None, Callable[[Mapping[str, Any]], Any]]:
    """The recipe for one modality (None where its kind has none for this task), and what it takes of encoded rows."""
    target, rows = prepared.target, prepared.rows["train"]
    # Each learns as long and as fast as its own recipe says: what suits all together may hold one back.
    changes = {name: value for name, value in config.trainer.chosen().items() if name in _MACHINE}
    if name == TABLE and part.table is not None:
        return plan_for(part.table, target, rows, **changes), lambda inputs: inputs["table"]
    [(_, encoder)] = part.parts
    if kind == "text":
        return text_recipe(target.task, rows, encoder, classes=target.units, **changes), lambda inputs: inputs["parts"][
            name
        ]
    if target.task == "regression":
        return None, lambda inputs: prepared.encoder.chosen(inputs, [name])
    augment = config.augment if kind == "image" else None
    plan = image_recipe(target.task, rows, encoder.in_shape, classes=target.units, augment=augment, **changes)
    return plan, lambda inputs: inputs["parts"][name]


def contributions(trained: Trained, inputs: Mapping[str, Any], truth: np.ndarray) -> tuple[Contribution, ...]:
    """What each modality contributes to the score of encoded test rows: where it is taken away, there is what was learnt for "absent"."""
    names = trained.encoder.modalities
    if not 1 < len(names) <= MOST:
        return ()

    def answered(some: Any) -> Any:
        kept = np.zeros(len(names), np.float32)
        kept[list(some)] = 1
        answers = trained.answer({**inputs, "present": inputs["present"] * kept})
        return trained.head.evidence(answers, truth)

    with stage("what each modality contributes"):
        return share_of_score(answered, names)


def told_of(found: tuple[Contribution, ...]) -> list[str]:
    """The contributions in words."""
    return [each.comparison.sentence for each in found]


def relied_on(
    trained: Trained, inputs: Mapping[str, Any], frame: pl.DataFrame, rows: Rows, *, seconds: float | None, seed: int
) -> tuple[Importance, ...]:
    """The cost of shuffling each column of the test rows; pictures, texts and recordings are shuffled as they are encoded.

    Args:
        inputs, frame: the test rows, encoded and as they were read.
        rows: their truth, with the model's answers.
    """
    encoder = trained.encoder
    own = [] if encoder.table is None else [column.name for column in encoder.table.schema.features]
    parts = [name for name, _ in encoder.parts]
    places = {name: np.arange(frame.height) for name in (*parts, _PLACE)}
    stand_in = pl.DataFrame({**{name: frame[name] for name in own}, **places})
    table = (TABLE in encoder.modalities) * 1

    def answer(some: pl.DataFrame) -> np.ndarray:
        at = {name: some[name].to_numpy() for name in parts}
        found: dict[str, Any] = {"parts": {name: _taken(inputs["parts"][name], at[name]) for name in parts}}
        present = inputs["present"][some[_PLACE].to_numpy()].copy()
        for number, name in enumerate(parts, table):
            present[:, number] = inputs["present"][at[name], number]
        if own:
            found["table"] = encoder.table.transform(some)
        return trained.answer({**found, "present": present})

    groups = list(related_columns(frame.head(_RELATED_ROWS), own)) if own else []
    groups += [tuple(own)] if len(own) > 1 and tuple(own) not in groups else []
    return permutation_importance(answer, stand_in, rows, [*own, *parts], groups=groups, seconds=seconds, seed=seed)


def _taken(part: Any, rows: np.ndarray) -> Any:
    import jax

    return jax.tree.map(lambda leaf: leaf[rows], part)
