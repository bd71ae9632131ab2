"""A blend: the network of a table beside gradient boosting and a linear model, weighted by what they answer for rows not learnt from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np

from danlu.data import TargetEncoder
from danlu.evaluate.selection import greedy_weights
from danlu.interrupt import graceful, why
from danlu.nn.blend import Blend
from danlu.tasks.folds import out_of_fold
from danlu.tasks.parts import Divided, Part, boosting, linear
from danlu.trained import Learned, Trained

__all__ = ["blended", "divided"]

NETWORK = "network"


def divided(
    target: TargetEncoder,
    learnt: tuple[Mapping[str, np.ndarray], np.ndarray, np.ndarray | None],
    held: tuple[Mapping[str, np.ndarray], np.ndarray, np.ndarray | None] | None,
    folds: np.ndarray | None,
    *,
    seed: int,
) -> Divided:
    """The rows as the parts of a blend take them.

    Args:
        learnt, held: inputs, labels and weights of the rows that are learnt from, and of those held out from all training.
        folds: the fold of each row of ``learnt``, where each fold is held out in turn.
    """
    inputs, labels, weight = learnt
    classes = len(target.classes)
    if folds is not None:
        divisions = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(int(folds.max()) + 1)]
        return Divided(target.task, classes, inputs, labels, weight, divisions, seed)
    if held is None:
        raise ValueError("neither folds nor held-out rows")
    more, also, beside = held
    if weight is not None or beside is not None:
        parts = [np.ones(len(y)) if w is None else w for y, w in ((labels, weight), (also, beside))]
        weight = np.concatenate(parts)
    count = len(labels)
    both = jax.tree.map(lambda *each: np.concatenate(each), inputs, more)
    every = np.arange(count + len(also))
    return Divided(
        target.task, classes, both, np.concatenate([labels, also]), weight, [(every[:count], every[count:])], seed
    )


def blended(learned: Learned, rows: Divided, folds: np.ndarray | None) -> Learned:
    """The trained network with the parts that make it better on the rows held out, and with answers of them all for these.

    The network stays a part where its weight is 0, for what only a network can do.

    A signal to stop while the parts are fitted leaves the network as it is.

    Args:
        learned: the network, with its answers for the held-out rows.
        rows: what it learnt from and what was held out.
        folds: the fold of each row, or None.
    """
    model, known = learned.model, learned.held_out
    if known is None:
        return learned
    with graceful() as asked:
        fitted = [fit(rows, stop=lambda: bool(asked)) for fit in (boosting, linear)]
    if asked:
        told = dataclasses.replace(learned.fitted, stopped_because=why(asked), stopped_by=asked.number)
        return dataclasses.replace(learned, fitted=told, notes=(f"{why(asked)}: the network, without other models",))
    own = Part(NETWORK, model.network, model.params, model.state)
    parts = [own, *(part for part in fitted if part is not None)]
    answers = [known.answers, *(_answers(model, part, rows, folds) for part in parts[1:])]
    truth = known.truth if rows.classes else model.head.target.inverse(known.truth)
    held = np.concatenate([held for _, held in rows.divisions]) if folds is None else np.arange(len(known))
    weights = greedy_weights(answers, truth, weight=None if rows.weight is None else rows.weight[held])
    found = zip(parts, answers, weights, strict=True)
    chosen = [(part, each, weight) for part, each, weight in found if part is own or weight > 0]
    count = f"{len(known):,} rows that the parts did not learn from"
    if [part for part, _, _ in chosen] == [own]:
        note = f"blend: the network alone; no other model made it better on {count}"
        return dataclasses.replace(learned, notes=(note,))
    network = Blend(
        tuple(part.name for part, _, _ in chosen), tuple(part.network for part, _, _ in chosen), rows.classes > 0
    )
    shares = {"weights": np.asarray([weight for _, _, weight in chosen], np.float32)}
    whole = dataclasses.replace(
        model,
        network=network,
        params=tuple(part.params for part, _, _ in chosen),
        state=(*(part.state for part, _, _ in chosen), shares),
    )
    mean = sum(weight * each for _, each, weight in chosen)
    note = f"blend: {whole.mixture}, chosen on {count}"
    return Learned(whole, learned.fitted, dataclasses.replace(known, answers=mean), (note,))


def _answers(model: Trained, part: Part, rows: Divided, folds: np.ndarray | None) -> np.ndarray:
    """What a part answers for the held-out rows."""
    alone = dataclasses.replace(
        model, network=part.network, params=part.params, state=part.state, head=model.head.plain()
    )
    if folds is not None:
        return out_of_fold(alone, dict(rows.inputs), folds)
    ((_, held),) = rows.divisions
    return np.asarray(alone.answer({name: each[held] for name, each in rows.inputs.items()}))
