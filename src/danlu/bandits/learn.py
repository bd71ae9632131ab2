"""A policy from a log: a model of rewards by cross-fitting, the scores of actions that follow from it, and a policy trained by these.

The rows are divided into folds. The networks of the first training, a population, each foretell the rewards of the rows that they did
not learn from; with the propensities that gives each action of each row a doubly robust score. The networks of the second training,
which are as many, choose actions so that the mean score of what they choose is high, or foretell the score of an effect. Both are one
network with two outputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from danlu.bandits.head import Choosing
from danlu.bandits.losses import LoggedReward, PolicyValue, robust_scores
from danlu.bandits.treating import Treating
from danlu.data import TableEncoder
from danlu.engine import Fitted, enable_compilation_cache
from danlu.engine.callback import Callback
from danlu.evaluate.uplift import effect_scores
from danlu.nn.combine import Parallel
from danlu.tasks import Recipe
from danlu.trained import Learned, Trained

__all__ = ["learn_bandit", "learn_uplift"]

_ENTROPY = 0.3  # in standard deviations of the scores; without any, a policy was no better than the best single action
_OTHER = 7919  # added to the seed of the policy's networks


def learn_bandit(
    inputs: Any,
    truth: dict[str, np.ndarray],
    folds: np.ndarray,
    *,
    encoder: TableEncoder,
    head: Choosing,
    plan: Recipe,
    learn: str = "robust",
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | Path | None = None,
    resume: bool = False,
    display: str = "none",
) -> Learned:
    """Learn a policy.

    Args:
        inputs: encoded contexts.
        truth: of them ``action``, ``reward`` and, unless the head estimates them, ``propensity``; of pages with an axis of places.
        folds: the fold of each row.
        head: of the answers.
        plan: of the model of rewards: a network for each fold, with the outputs that the head asks for.
        learn: ``"robust"``, ``"ips"`` or ``"direct"``; see :class:`~danlu.bandits.LoggedBandit`.
        seed: decides the initial weights and every random draw.
        callbacks, checkpoint, resume, display: see :func:`danlu.fit`.
    """
    fits = _Fits(inputs, folds, {"callbacks": callbacks, "display": display, "resume": resume}, checkpoint)
    offset = 0.0 if head.share else head.mean / head.std
    logging = LoggedReward(
        len(head.actions), share=head.share, logging=head.estimated, places=head.places, offset=offset
    )
    fitted = fits(plan, _lesson(truth, head), logging, seed)
    model = _joined({"value": fitted}, encoder, head)
    action, reward = truth["action"], truth["reward"]
    log = head.evidence(model.head(_out_of_fold(model, inputs, folds)), truth)
    limit = np.sqrt(len(reward))  # beyond which a weight counts as no more (Ionides 2008)
    there = action >= 0

    def scored(reward: np.ndarray, values: np.ndarray) -> np.ndarray:
        """The scores of each action, of a page their mean over its places, ``(rows, actions)``."""
        found = np.zeros(values.shape)
        found[there] = robust_scores(action[there], reward[there], log.propensity[there], values[there], most=limit)
        if head.places == 1:
            return found
        return np.asarray(found.sum(axis=1) / np.maximum(there.sum(axis=1), 1)[:, None])

    scores = scored(reward, log.values)
    model = dataclasses.replace(model, head=head.with_best(scores))
    if learn == "direct" or fitted.stopped_by is not None:
        return Learned(model, fitted)
    if learn == "ips":
        scores = scored(reward - reward[there].mean(), np.zeros_like(log.values))
    scores = (scores - scores.mean()) / max(float(scores.std()), 1e-12)
    lesson, loss = scores.astype(np.float32), PolicyValue(_ENTROPY)
    chosen = fits(_sized(plan, len(head.actions)), lesson, loss, seed + _OTHER, "policy")
    return Learned(_joined({"value": fitted, "policy": chosen}, encoder, model.head), _stopped(fitted, chosen))


def learn_uplift(
    inputs: Any,
    truth: dict[str, np.ndarray],
    folds: np.ndarray,
    *,
    encoder: TableEncoder,
    head: Treating,
    plan: Recipe,
    learn: str = "robust",
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | Path | None = None,
    resume: bool = False,
    display: str = "none",
) -> Learned:
    """Learn what a treatment changes; arguments as of :func:`learn_bandit`, the actions being none and the treatment.

    Args:
        learn: ``"two"``, ``"transformed"`` or ``"robust"``; see :class:`~danlu.bandits.Uplift`.
    """
    fits = _Fits(inputs, folds, {"callbacks": callbacks, "display": display, "resume": resume}, checkpoint)
    fitted = fits(plan, _lesson(truth, head), LoggedReward(2, share=head.share, logging=head.estimated), seed)
    model = _joined({"value": fitted}, encoder, head)
    found = model.head(_out_of_fold(model, inputs, folds))
    if learn != "two" and fitted.stopped_by is None:
        values = found["value"] if learn == "robust" else None
        scores = effect_scores(truth["action"] == 1, truth["reward"], head.propensity(found), values)
        head = dataclasses.replace(head, effect_mean=float(scores.mean()), effect_std=float(scores.std()) or 1.0)
        lesson = {
            "action": np.zeros(len(scores), np.int32),
            "reward": ((scores - head.effect_mean) / head.effect_std).astype(np.float32),
        }
        effect = fits(_sized(plan, 1), lesson, LoggedReward(1), seed + _OTHER, "uplift")
        model = _joined({"value": fitted, "uplift": effect}, encoder, head)
        found, fitted = model.head(_out_of_fold(model, inputs, folds)), _stopped(fitted, effect)
    return Learned(dataclasses.replace(model, head=head.with_budget(found["uplift"])), fitted)


@dataclasses.dataclass(frozen=True, eq=False)
class _Fits:
    """Trains networks by cross-fitting on the same rows, one training after the other, each with its own checkpoint."""

    inputs: Any
    folds: np.ndarray
    how: dict[str, Any]
    checkpoint: str | Path | None

    def __call__(self, plan: Recipe, targets: Any, loss: Any, seed: int, part: str = "") -> Fitted:
        enable_compilation_cache()
        starts = [plan.initial(key, self.inputs) for key in plan.keys(jax.random.key(seed))]
        rows = max(int((self.folds != fold).sum()) for fold in range(plan.folds))
        how = {**self.how, "initial": starts, "loss": loss, "monitor": "val_loss"}
        kept = None if self.checkpoint is None else Path(self.checkpoint) / part
        return plan.cross_fit((self.inputs, targets), self.folds, rows=rows, seed=seed, checkpoint=kept, **how)


def _lesson(truth: dict[str, np.ndarray], head: Choosing | Treating) -> dict[str, np.ndarray]:
    """What a model of rewards learns, on its own scale."""
    reward = truth["reward"] if head.share else (truth["reward"] - head.mean) / head.std
    return {"action": truth["action"], "reward": reward.astype(np.float32)}


def _sized(plan: Recipe, outputs: int) -> Recipe:
    """The recipe of a network with so many outputs."""
    own: Any = plan.model
    return plan.replace(model=own.replace(units=outputs))


def _stopped(first: Fitted, second: Fitted) -> Fitted:
    """The record of the first training; stopped, where the second one was."""
    if second.stopped_by is None:
        return first
    return dataclasses.replace(first, stopped_by=second.stopped_by, stopped_because=second.stopped_because)


def _joined(parts: dict[str, Fitted], encoder: TableEncoder, head: Choosing | Treating) -> Trained:
    """Networks side by side, each with its variables, as one model."""
    networks, params, state = zip(*((each.model, each.params, each.state) for each in parts.values()), strict=True)
    network = Parallel(tuple(networks), merge="dict", outputs=tuple(parts))
    return Trained(network, tuple(params), tuple(state), encoder, head)


def _out_of_fold(model: Trained, inputs: Any, folds: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs for each row of the networks that did not learn from it."""
    rows = np.arange(len(folds))

    def own(outputs: np.ndarray) -> np.ndarray:
        apart = outputs.reshape(
            len(rows), int(folds.max()) + 1, -1, outputs.shape[-1]
        )  # (rows, folds, members, outputs)
        return np.asarray(apart[rows, folds])

    found: dict[str, np.ndarray] = jax.tree.map(own, model.outputs(inputs))
    return found
