"""What a search has found, and the command that trains with it."""

from __future__ import annotations

import dataclasses
import html
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from danlu.artifact import RunDirectory
from danlu.evaluate.intervals import figure
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.once import TrainResult
from danlu.pipeline.past import changed_settings
from danlu.pipeline.plain import plain
from danlu.pipeline.space import in_words, written
from danlu.tuning.study import Told

__all__ = ["Tuned", "command_of", "fixed_settings"]


@dataclasses.dataclass(frozen=True, eq=False)
class Tuned:
    """The result of a search.

    Attributes:
        run: where it is; the model, the report and the rest are as of any run.
        settings: the best settings found, by their dotted names.
        score: their score, for rows that were not learnt from; ``metric`` is its name.
        trials: all that were tried.
        importances: the share of the score's variance that each setting accounts for; empty after few trials.
        command: what trains with these settings.
        result: of the training with these settings; None when a signal ended the search.
        seconds: that the search took, without that training.
        stopped_by: the number of the signal that ended it, or None.
    """

    run: RunDirectory
    settings: Mapping[str, Any]
    score: float | None
    metric: str
    trials: Sequence[Told]
    importances: Mapping[str, float]
    command: str
    result: TrainResult | None
    seconds: float
    stopped_by: int | None = None

    @property
    def model(self) -> Any:
        """The model trained with the best settings."""
        return None if self.result is None else self.result.model

    @property
    def judgement(self) -> Any:
        """Its test."""
        return None if self.result is None else self.result.judgement

    def __repr__(self) -> str:
        score = "" if self.score is None else f", {self.metric}={figure(self.score)}"
        return f"Tuned({str(self.run.path)!r}, {len(self.trials)} trials{score}, {in_words(self.settings)})"

    def _repr_html_(self) -> str:
        tested = "" if self.judgement is None else self.judgement._repr_html_()
        return f"<p><b>{html.escape(self.command)}</b></p>{tested}"


def fixed_settings(config: TrainConfig) -> str:
    """The settings that are not searched, in words."""
    changed = changed_settings(plain(config.as_dict()))
    return in_words({name: value for name, value in changed.items() if name not in ("data.source", "data.test")})


def command_of(config: TrainConfig, found: Mapping[str, Any]) -> str:
    """The command that trains with the found settings."""
    changed = {name: value for name, value in changed_settings(plain(config.as_dict())).items() if name not in found}
    for name in [each for each in changed if isinstance(changed[each], dict)]:  # the agent's own, one by one
        own = {**changed.pop(name)}
        changed |= {f"{name}.{each}": value for each, value in own.items()}
    words = ["danlu", "train", str(changed.pop("data.source", config.data.source))]
    for option in ("target", "test"):
        if f"data.{option}" in changed:
            words += [f"--{option}", str(changed.pop(f"data.{option}"))]
    words += [f"{name}={_as_typed(value)}" for name, value in {**changed, **found}.items()]
    return shlex.join(words)


def _as_typed(value: Any) -> str:
    return written(list(value) if isinstance(value, tuple) else value)
