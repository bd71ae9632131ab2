"""The head that chooses an action for a context, and the test of its choices on a log."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from danlu.blueprint import setting
from danlu.errors import ArtifactError
from danlu.evaluate import Evidence
from danlu.evaluate.intervals import figure
from danlu.evaluate.judgement import Simple
from danlu.evaluate.logged import Logged, sure_interval
from danlu.trained import Head
from danlu.trained.head import namespace, out_shape_of

__all__ = ["Choosing", "likely", "worth_of"]

_SHOWN = 20  # actions whose values stand beside the answer
_FEWEST = 30  # effective rows below which a value is called unknown
_FAR = 4.0  # standard errors of the weights' mean from 1
_LEAST = 1e-6  # of an estimated propensity


def worth_of(raw: Any, share: bool, mean: float, std: float) -> Any:
    """What each action is expected to bring, the mean over the members ``(rows, members, actions)``, ``(rows, actions)``."""
    xp = namespace(raw)
    return (0.5 * (1 + xp.tanh(raw / 2)) if share else raw * std + mean).mean(axis=1)


def likely(logits: Any) -> Any:
    """The mean over the members of the probabilities, ``(rows, actions)``."""
    xp = namespace(logits)
    e = xp.exp(logits - logits.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)).mean(axis=1)


class Choosing(Head):
    """The action for each context, with what it is expected to bring.

    The network's outputs are ``{"value"}`` and, of a policy that was trained itself, ``{"policy"}``, ``(batch, members, actions)``; with
    estimated propensities the values have the logits of what was logged behind them. The answers are ``{"value", "policy"}`` and then
    ``"logging"``, ``(rows, actions)``; the policy is 1 at the action that it chooses.

    Args:
        actions: their names.
        action, reward, propensity: the columns.
        share: whether rewards are between 0 and 1, so that the values are logits.
        mean, std: what the values of other rewards are scaled back by.
        low, high: the ends of what a reward can be.
        estimated: whether the propensities are.
        best: the number of the action that is best if always the same is done, on the rows that were learnt from.
    """

    kind = "bandit"
    task = "bandit"
    instead = "danlu evaluate says what the policy is worth, with intervals"

    actions: tuple[str, ...]
    action: str
    reward: str
    propensity: str = ""
    share: bool = False
    mean: float = 0.0
    std: float = setting(default=1.0, above=0)
    low: float = 0.0
    high: float = 1.0
    estimated: bool = False
    best: int = setting(default=0, minimum=0, integer=True)

    @property
    def name(self) -> str:
        return self.action

    @property
    def scale(self) -> float | None:
        return (self.high - self.low) / 4 or None

    def __call__(self, outputs: Any) -> Any:
        count, values = len(self.actions), outputs["value"]
        xp = namespace(values)
        worth = worth_of(values[..., :count], self.share, self.mean, self.std)
        preferred = likely(outputs["policy"]) if "policy" in outputs else worth
        found = {"value": worth, "policy": (preferred.argmax(axis=-1)[:, None] == xp.arange(count)[None]) * 1.0}
        if self.estimated:
            found["logging"] = likely(values[..., count:])
        return found

    def frame(self, answers: Any, rows: Any = None) -> pl.DataFrame:
        chosen = np.asarray(answers["policy"]).argmax(axis=1)
        values = np.asarray(answers["value"], np.float64)
        columns: dict[str, Any] = {
            self.action: [self.actions[each] for each in chosen],
            f"expected {self.reward}": values[np.arange(len(values)), chosen],
        }
        if len(self.actions) <= _SHOWN:
            columns |= {
                f"expected {self.reward} of {name}": values[:, place] for place, name in enumerate(self.actions)
            }
        return pl.DataFrame(columns)

    def evidence(self, answers: Any, truth: Any) -> Logged:
        action = np.asarray(truth["action"])
        if self.estimated:
            known = np.take_along_axis(answers["logging"], np.maximum(action, 0)[:, None], axis=1)[:, 0]
            propensity = np.where(action < 0, 1.0, np.maximum(known, _LEAST))
        else:
            propensity = np.asarray(truth["propensity"], np.float64)
        return Logged(
            action,
            np.asarray(truth["reward"], np.float64),
            propensity,
            np.asarray(answers["value"], np.float64),
            np.asarray(answers["policy"], np.float64),
        )

    def notes(self, evidence: Evidence) -> tuple[str, ...]:
        """How much the log can tell of the policy."""
        if not isinstance(evidence, Logged):
            return ()
        effective, rows, found = evidence.effective_rows, len(evidence), []
        found.append(
            f"the policy does what was logged in {int((evidence.weights > 0).sum()):,} of {rows:,} rows, which with their weights tell "
            f"as much as {effective:,.0f} rows of its own would"
        )
        if effective < _FEWEST:
            found.append(
                f"fewer than {_FEWEST} such rows: the log hardly shows what this policy would do, and its value is not known from it"
            )
        elif abs(evidence.overlap_z) > _FAR:
            found.append(
                f"the weights have a mean of {figure(float(evidence.weights.mean()), 3)}, where 1 is expected: the propensities are not "
                "those by which the actions were chosen, or some of what the policy does was never tried; do not rely on the values"
            )
        if self.estimated:
            found.append(
                f"the propensities are estimated from the columns, as none are written; the intervals do not allow for their error, nor "
                f"for anything that {self.action!r} was chosen by and no column shows"
            )
        elif self.low < self.high and effective:
            sure = sure_interval(evidence, self.low, self.high)
            found.append(
                f"however heavy the weights, in 95 % of logs the value is within {sure.between}, if rewards are from {figure(self.low)} to "
                f"{figure(self.high)} and the propensities are right"
            )
        return tuple(found)

    def simple(self, inputs: Any, evidence: Any) -> Iterable[Simple]:
        """What was done when the log was written, always the same action, and any by chance."""
        if not isinstance(evidence, Logged):
            return
        count = len(self.actions)
        yield Simple("the logging policy", evidence.following(None), constant=False)
        yield Simple(
            f"always {self.actions[self.best]!r}",
            evidence.following(np.eye(count)[self.best]),
            constant=False,
            notes=("the action that is best on the training rows, by their doubly robust value",),
        )
        yield Simple("actions at random", evidence.following(np.full(count, 1 / count)), constant=False)

    def beside(self, answers: Any, truth: Any, rows: Any = None) -> pl.DataFrame:
        names = np.array([*self.actions, ""])[np.asarray(truth["action"])]
        log: Logged = self.evidence(answers, truth)
        return self.frame(answers, rows).with_columns(
            pl.Series(f"logged {self.action}", names.tolist()).replace("", None),
            pl.Series(f"logged {self.reward}", log.reward),
            pl.Series("propensity", log.propensity),
            pl.Series("weight", log.weights),
        )

    def check(self, network: Any, encoder: Any) -> None:
        count, shapes = len(self.actions), out_shape_of(network, encoder)
        wanted = {"value": count * (2 if self.estimated else 1), "policy": count}
        if not isinstance(shapes, dict) or not {"value"} <= set(shapes) <= set(wanted):
            raise ArtifactError("the saved model is damaged: its network has no values of actions")
        if any(len(shape) != 2 or shape[-1] != wanted[name] for name, shape in shapes.items()) or self.best >= count:
            raise ArtifactError(
                f"the saved network's outputs have the shapes {shapes}; expected one number for each of {count} actions"
            )

    def with_best(self, scores: np.ndarray) -> Choosing:
        """The head that knows the best action of all rows, by scores of each, ``(rows, actions)``."""
        return dataclasses.replace(self, best=int(scores.mean(axis=0).argmax()))
