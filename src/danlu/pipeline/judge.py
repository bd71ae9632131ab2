"""The test of a trained model beside simple ones, the same for every kind of data."""

from __future__ import annotations

import dataclasses
from typing import Any

import polars as pl

from danlu.evaluate import Interval, compare
from danlu.evaluate.judgement import Judgement
from danlu.evaluate.kept import Kept
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain
from danlu.trained import Trained

__all__ = ["judge"]


def judge(config: TrainConfig, domain: Domain, prepared: Any, trained: Trained) -> Judgement | None:
    """What the test rows say: the scores with intervals, and the comparison with each simple model; None without test rows."""
    own = domain.test(config, prepared, trained)
    if own is None or own.evidence is None or not config.evaluate.baselines:
        return own
    seed, ours = config.trainer.seed, own.evidence
    others: dict[str, dict[str, Interval]] = {}
    kept: dict[str, Kept] = {}
    columns: dict[str, pl.Series] = {}
    comparisons, notes = [], list(own.notes)
    for each in domain.simple(config, prepared, trained, ours):
        others[each.label] = each.evidence.scores(seed=seed)
        found = compare(ours, each.evidence, each.label, name=own.name, constant=each.constant, seed=seed)
        if each.kept is not None:
            found, kept[each.kept.name] = dataclasses.replace(found, kept=each.kept.name), each.kept
            columns |= {
                f"{each.kept.name}: {column.name}": column for column in ([] if each.answers is None else each.answers)
            }
        comparisons.append(found)
        notes += [f"{each.label}: {note}" for note in each.notes]
    return dataclasses.replace(
        own,
        others=others,
        comparisons=tuple(comparisons),
        kept=kept,
        simple_predictions=pl.DataFrame(columns),
        notes=tuple(notes),
    )
