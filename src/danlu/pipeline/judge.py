"""The test of a trained model against simple ones, the same for every kind of data."""

from __future__ import annotations

from typing import Any

from danlu.evaluate.judgement import Judgement
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain
from danlu.trained import Trained

__all__ = ["judge"]


def judge(config: TrainConfig, domain: Domain, prepared: Any, trained: Trained) -> Judgement | None:
    """The scores on the test rows with intervals, and the comparison with each simple model; None without test rows."""
    own = domain.test(config, prepared, trained)
    if own is None or own.evidence is None or not config.evaluate.baselines:
        return own
    return own.compared(domain.simple(config, prepared, trained, own.evidence), seed=config.trainer.seed)
