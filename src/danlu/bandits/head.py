"""The head that chooses an action, or a page of them, for a context, and the test of its choices on a log."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from danlu.bandits.log import NamedLog
from danlu.blueprint import setting
from danlu.errors import ArtifactError
from danlu.evaluate import Evidence
from danlu.evaluate.intervals import figure
from danlu.evaluate.judgement import Simple
from danlu.evaluate.logged import DEPENDS, Logged, sure_interval
from danlu.trained import Head
from danlu.trained.head import namespace, out_shape_of

__all__ = ["Choosing", "likely", "worth_of"]

_SHOWN = 20  # actions whose values stand beside the answer
_FEWEST = 30  # effective rows below which a value is called unknown
_FAR = 4.0  # standard errors of the weights' mean from 1
_LEAST = 1e-6  # of an estimated propensity
_AGREED = {"place": "", "above": " and at all above them", "page": " and at all others"}


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

    Of pages the outputs ``"value"`` have the logits of how much the places after the first are looked at behind the values of items, and
    the answers are ``{"value", "looked", "order"}``: of each item at the first place, of each place, and the items in their order,
    ``(rows, places)``; ``"logging"`` is ``(rows, places, actions)``.

    Args:
        actions: their names.
        action, reward, propensity: the columns.
        share: whether rewards are between 0 and 1, so that the values are logits.
        mean, std: what the values of other rewards are scaled back by.
        low, high: the ends of what a reward can be.
        estimated: whether the propensities are.
        best: the number of the action that is best if always the same is done, on the rows that were learnt from.
        slate: the columns of pages and places, where there are pages.
        places: of a page.
        depends: what the reward of a place depends on; see :class:`~danlu.evaluate.logged.Logged`.
        page: the numbers of the items of the page that is best if always the same is shown.
    """

    kind = "bandit"
    apart = False
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
    slate: str = ""
    places: int = setting(default=1, minimum=1, integer=True)
    depends: str = setting(default="place", choices=DEPENDS)
    page: tuple[int, ...] = ()

    @property
    def columns(self) -> NamedLog:
        """Which column of a log is what."""
        return NamedLog(self.action, self.reward, self.propensity, *self.slate.split(":"))

    @property
    def outputs(self) -> int:
        """How many numbers the model of rewards gives: of items, of places after the first, and of what was logged."""
        return len(self.actions) * (1 + self.places * self.estimated) + self.places - 1

    @property
    def name(self) -> str:
        return self.action

    @property
    def scale(self) -> float | None:
        return (self.high - self.low) / 4 or None

    def marks(self, truth: Any) -> np.ndarray:
        found = [np.asarray(truth[name], np.float64) for name in ("action", "reward")]
        return np.concatenate([each.reshape(len(each), -1) for each in found], axis=1)  # (rows, 2 × places)

    def __call__(self, outputs: Any) -> Any:
        count, values = len(self.actions), outputs["value"]
        xp = namespace(values)
        worth = worth_of(values[..., :count], self.share, self.mean, self.std)
        preferred = likely(outputs["policy"]) if "policy" in outputs else worth
        logits = values[..., count + self.places - 1 :]
        if self.places == 1:
            found = {"value": worth, "policy": (preferred.argmax(axis=-1)[:, None] == xp.arange(count)[None]) * 1.0}
        else:
            looked = (0.5 * (1 + xp.tanh(values[..., count : count + self.places - 1] / 2))).mean(axis=1)
            order = xp.argsort(-preferred, axis=-1, stable=True)[:, : self.places]
            found = {
                "value": worth,
                "looked": xp.concatenate([xp.ones_like(looked[:, :1]), looked], axis=-1),
                "order": order.astype(np.int32),
            }
        if self.estimated:
            shape = (*logits.shape[:-1], count) if self.places == 1 else (*logits.shape[:-1], self.places, count)
            found["logging"] = likely(logits.reshape(shape))  # (rows[, places], actions)
        return found

    def frame(self, answers: Any, rows: Any = None) -> pl.DataFrame:
        values = np.asarray(answers["value"], np.float64)
        if self.places == 1:
            chosen = np.asarray(answers["policy"]).argmax(axis=1)[:, None]
            names, looked = [self.action], np.ones((len(values), 1))
        else:
            chosen, looked = np.asarray(answers["order"]), np.asarray(answers["looked"], np.float64)
            names = [f"{self.action} {place + 1}" for place in range(self.places)]
        columns: dict[str, Any] = {
            **{name: [self.actions[each] for each in chosen[:, place]] for place, name in enumerate(names)},
            f"expected {self.reward}": (np.take_along_axis(values, chosen, axis=1) * looked).sum(axis=1),
        }
        if len(self.actions) <= _SHOWN:
            columns |= {
                f"expected {self.reward} of {name}": values[:, place] for place, name in enumerate(self.actions)
            }
        return pl.DataFrame(columns)

    def evidence(self, answers: Any, truth: Any) -> Logged:
        action = np.asarray(truth["action"])
        if self.estimated:
            known = np.take_along_axis(answers["logging"], np.maximum(action, 0)[..., None], axis=-1)[..., 0]
            propensity = np.where(action < 0, 1.0, np.maximum(known, _LEAST))
        else:
            propensity = np.asarray(truth["propensity"], np.float64)
        values = np.asarray(answers["value"], np.float64)
        if self.places == 1:
            policy = np.asarray(answers["policy"], np.float64)
        else:
            values = values[:, None] * np.asarray(answers["looked"], np.float64)[..., None]  # (rows, places, actions)
            policy = self._pages(np.asarray(answers["order"]))
        return Logged(action, np.asarray(truth["reward"], np.float64), propensity, values, policy, depends=self.depends)

    def _pages(self, order: np.ndarray) -> np.ndarray:
        """Pages of items as a policy, ``(…, places, actions)``."""
        return (order[..., None] == np.arange(len(self.actions))) * 1.0

    def notes(self, evidence: Evidence) -> tuple[str, ...]:
        """How much the log can tell of the policy."""
        if not isinstance(evidence, Logged):
            return ()
        effective, rows, found = evidence.effective_rows, len(evidence), []
        if self.places > 1:
            agreed, there = evidence.by_place[~evidence.absent] > 0, evidence.depends
            found.append(
                f"the policy shows what was logged at {int(agreed.sum()):,} of {agreed.size:,} places of {rows:,} pages"
                f"{_AGREED[there]}, which with their weights tell as much as {effective:,.0f} pages of its own would"
            )
        else:
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
        if self.places > 1:
            yield Simple(
                "always the same page",
                evidence.following(self._pages(np.asarray(self.page))),
                constant=False,
                notes=(
                    f"of the items that are best on the training rows: {', '.join(self.actions[i] for i in self.page)}",
                ),
            )
            left = np.where(evidence.action < 0, 0.0, 1 / (count - np.arange(self.places)))
            given = None if self.depends == "place" else left
            yield Simple("pages at random", evidence.following(np.full(count, 1 / count), given), constant=False)
            return
        yield Simple(
            f"always {self.actions[self.best]!r}",
            evidence.following(np.eye(count)[self.best]),
            constant=False,
            notes=("the action that is best on the training rows, by their doubly robust value",),
        )
        yield Simple("actions at random", evidence.following(np.full(count, 1 / count)), constant=False)

    def beside(self, answers: Any, truth: Any, rows: Any = None) -> pl.DataFrame:
        log: Logged = self.evidence(answers, truth)
        action, reward, propensity = (part.reshape(len(log), -1) for part in (log.action, log.reward, log.propensity))
        logged = np.array([*self.actions, "", ""])[action]  # (rows, places)
        columns: dict[str, Any] = {}
        for place, end in enumerate([""] if self.places == 1 else [f" {place + 1}" for place in range(self.places)]):
            columns |= {
                f"logged {self.action}{end}": pl.Series(logged[:, place].tolist()).replace("", None),
                f"logged {self.reward}{end}": reward[:, place],
                f"propensity{end}": propensity[:, place],
                f"weight{end}": log.by_place[:, place],
            }
        return self.frame(answers, rows).with_columns(**columns)

    def check(self, network: Any, encoder: Any) -> None:
        count, shapes = len(self.actions), out_shape_of(network, encoder)
        wanted = {"value": self.outputs, "policy": count}
        if not isinstance(shapes, dict) or not {"value"} <= set(shapes) <= set(wanted):
            raise ArtifactError("the saved model is damaged: its network has no values of actions")
        if any(len(shape) != 2 or shape[-1] != wanted[name] for name, shape in shapes.items()) or self.best >= count:
            raise ArtifactError(
                f"the saved network's outputs have the shapes {shapes}; expected one number for each of {count} actions"
            )
        if self.places > 1 and (self.places > count or sorted({*self.page} & {*range(count)}) != sorted(self.page)):
            raise ArtifactError("the saved model is damaged: its pages are not of different items")

    def with_best(self, scores: np.ndarray) -> Choosing:
        """The head that knows the best action of all rows, and the best page, by scores of each, ``(rows, actions)``."""
        order = np.argsort(-scores.mean(axis=0), kind="stable")
        page = tuple(order[: self.places].tolist()) if self.places > 1 else ()
        return dataclasses.replace(self, best=int(order[0]), page=page)
