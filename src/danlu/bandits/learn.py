"""A policy from a log: a model of rewards by cross-fitting, the scores of actions that follow from it, and a policy trained by these.

The rows are divided into folds. The networks of the first training, a population, each foretell the rewards of the rows that they did
not learn from; with the propensities that gives each action of each row a doubly robust score. The networks of the second training,
which are as many, choose actions so that the mean score of what they choose is high. Model and policy are one network with two outputs.
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
from danlu.data import TableEncoder
from danlu.engine import enable_compilation_cache
from danlu.engine.callback import Callback
from danlu.nn.combine import Parallel
from danlu.tasks import Recipe
from danlu.trained import Learned, Trained

__all__ = ["learn_bandit"]

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
        truth: of them ``action``, ``reward`` and, unless the head estimates them, ``propensity``.
        folds: the fold of each row.
        head: of the answers.
        plan: of the model of rewards: a network for each fold, with an output for each action, and another where propensities are
            estimated.
        learn: ``"robust"``, ``"ips"`` or ``"direct"``; see :class:`~danlu.bandits.LoggedBandit`.
        seed: decides the initial weights and every random draw.
        callbacks, checkpoint, resume, display: see :func:`danlu.fit`.
    """
    enable_compilation_cache()
    action, reward = truth["action"], truth["reward"]
    scaled = reward if head.share else (reward - head.mean) / head.std
    lesson = {"action": action, "reward": scaled.astype(np.float32)}

    def fit(plan: Recipe, targets: Any, loss: Any, seed: int, **how: Any) -> Any:
        starts = [plan.initial(key, inputs) for key in plan.keys(jax.random.key(seed))]
        rows = max(int((folds != fold).sum()) for fold in range(plan.folds))
        return plan.cross_fit(
            (inputs, targets), folds, rows=rows, seed=seed, initial=starts, loss=loss, monitor="val_loss", **how
        )

    how: dict[str, Any] = {"callbacks": callbacks, "display": display, "resume": resume}
    logging = LoggedReward(len(head.actions), share=head.share, logging=head.estimated)
    fitted = fit(plan, lesson, logging, seed, checkpoint=checkpoint, **how)
    parts = {"value": (fitted.model, fitted.params, fitted.state)}
    model = _joined(parts, encoder, head)
    found = model.head(_out_of_fold(model, inputs, folds))
    log = head.evidence(found, truth)
    limit = np.sqrt(len(reward))  # beyond which a weight counts as no more (Ionides 2008)
    scores = robust_scores(action, reward, log.propensity, log.values, most=limit)
    model = dataclasses.replace(model, head=head.with_best(scores))
    if learn == "direct" or fitted.stopped_by is not None:
        return Learned(model, fitted)
    if learn == "ips":
        scores = robust_scores(action, reward - reward.mean(), log.propensity, np.zeros_like(scores), most=limit)
    scores = (scores - scores.mean()) / max(float(scores.std()), 1e-12)
    own: Any = plan.model
    chosen = fit(
        plan.replace(model=own.replace(units=len(head.actions))),
        scores.astype(np.float32),
        PolicyValue(_ENTROPY),
        seed + _OTHER,
        checkpoint=None if checkpoint is None else Path(checkpoint) / "policy",
        **how,
    )
    parts["policy"] = (chosen.model, chosen.params, chosen.state)
    if chosen.stopped_by is not None:
        fitted = dataclasses.replace(fitted, stopped_by=chosen.stopped_by, stopped_because=chosen.stopped_because)
    return Learned(_joined(parts, encoder, model.head), fitted)


def _joined(parts: dict[str, tuple[Any, Any, Any]], encoder: TableEncoder, head: Choosing) -> Trained:
    """Networks side by side, each with its variables, as one model."""
    networks, params, state = zip(*parts.values(), strict=True)
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
