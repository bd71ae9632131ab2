"""A blend: the network of a table beside gradient boosting and a linear model, weighted by what they answer for rows not learnt from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from danlu.data import TargetEncoder
from danlu.evaluate.selection import certainty, greedy_weights
from danlu.interrupt import Asked, graceful, why
from danlu.nn.blend import Blend
from danlu.tasks.folds import out_of_fold
from danlu.tasks.parts import Divided, Part, boosting, linear
from danlu.trained import Learned, Trained

__all__ = [
    "NETWORK",
    "Candidate",
    "blended",
    "candidates",
    "divided",
    "ended",
    "held_answers",
    "mixed",
    "truth_of",
    "weights_of",
]

NETWORK = "network"
PARTS = (boosting, linear)
_DRAWS = 20  # selections, each on other rows
_MANY = 20_000  # rows on which one selection is as good as the mean of several
_LEAST_SHARE = 0.04  # of a part, where there are few; a smaller one is chance, and a part more to keep


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


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A part that may join a blend, and what it answers for the held-out rows, in the order of the network's answers."""

    part: Part
    answers: np.ndarray


def candidates(learned: Learned, rows: Divided, folds: np.ndarray | None) -> tuple[list[Candidate], Learned | None]:
    """The network, gradient boosting and the linear model.

    Args:
        learned: the network, with its answers for the held-out rows.
        rows: what it learnt from and what was held out.
        folds: the fold of each row, or None.

    Returns:
        The parts; and the network alone if a signal to stop came while the others were fitted, else None.
    """
    model: Trained = learned.model
    known: Any = learned.held_out
    with graceful() as asked:
        fitted = [fit(rows, stop=lambda: bool(asked)) for fit in PARTS]
    own = [Candidate(Part(NETWORK, model.network, model.params, model.state), known.answers)]
    if asked:
        note = f"{why(asked)}: the network, without other models"
        return own, dataclasses.replace(ended(learned, asked), notes=(*learned.notes, note))
    parts = [part for part in fitted if part is not None]
    return [*own, *(Candidate(part, held_answers(model, part, rows, folds)) for part in parts)], None


def ended(learned: Learned, asked: Asked) -> Learned:
    """The same, with the signal that ended the training on its record."""
    told = dataclasses.replace(learned.fitted, stopped_because=why(asked), stopped_by=asked.number)
    return dataclasses.replace(learned, fitted=told)


def truth_of(learned: Learned, rows: Divided, folds: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The truth of the held-out rows, codes or values in the target's unit, and their weights."""
    known: Any = learned.held_out
    truth = known.truth if rows.classes else learned.model.head.target.inverse(known.truth)
    held = np.concatenate([held for _, held in rows.divisions]) if folds is None else np.arange(len(known))
    return np.asarray(truth), None if rows.weight is None else rows.weight[held]


def blended(learned: Learned, rows: Divided, folds: np.ndarray | None) -> Learned:
    """The trained network with the parts that make it better on the rows held out; arguments as of :func:`candidates`.

    A signal to stop while the parts are fitted leaves the network as it is.
    """
    if learned.held_out is None:
        return learned
    found, stopped = candidates(learned, rows, folds)
    return stopped or mixed(learned, found, *truth_of(learned, rows, folds))


def mixed(
    learned: Learned, library: Sequence[Candidate], truth: np.ndarray, weight: np.ndarray | None = None
) -> Learned:
    """The blend of those parts that make the network better on the held-out rows, with answers of them all for these.

    The network stays a part where its weight is 0, for what only a network can do.

    Args:
        learned: the network.
        library: the parts, the network's own first.
        truth, weight: see :func:`truth_of`.
    """
    model, known = learned.model, learned.held_out
    if known is None:
        return learned
    own, answers = library[0].part, [each.answers for each in library]
    weights = weights_of(answers, truth, weight)
    parts = zip((each.part for each in library), answers, weights, strict=True)
    chosen = [(part, each, share) for part, each, share in parts if part is own or share > 0]
    count = f"{len(known):,} rows that the parts did not learn from"
    if [part for part, _, _ in chosen] == [own]:
        note = f"blend: the network alone; no other model made it surely better on {count}"
        return dataclasses.replace(learned, notes=(*learned.notes, note))
    network = Blend(
        tuple(part.name for part, _, _ in chosen),
        tuple(part.network for part, _, _ in chosen),
        truth.dtype.kind in "iu",
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
    return Learned(whole, learned.fitted, dataclasses.replace(known, answers=mean), (*learned.notes, note))


def weights_of(answers: Sequence[np.ndarray], truth: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """The weights of parts with these answers for the held-out rows, those of the network first.

    They are those of :func:`~danlu.evaluate.selection.greedy_weights`, drawn towards the network as far as it may be chance that the
    mean is better: of a fold, one network answered, and the model is the mean of those of all folds, which is better. A linear model gains
    nothing from such a mean, so the rows flatter it.
    """
    draws = _DRAWS if len(truth) <= _MANY else 1
    weights = greedy_weights(answers, truth, weight=weight, draws=draws)
    mean: Any = sum(share * each for share, each in zip(weights, answers, strict=True))
    weights = weights * certainty(answers[0], mean, truth, weight)
    weights[0] += 1 - weights.sum()
    kept = np.where(weights < min(_LEAST_SHARE, 0.5 / len(weights)), 0, weights)
    return np.asarray(kept / kept.sum())


def held_answers(model: Trained, part: Part, rows: Divided, folds: np.ndarray | None) -> np.ndarray:
    """What a part answers for the held-out rows."""
    alone = dataclasses.replace(
        model, network=part.network, params=part.params, state=part.state, head=model.head.plain()
    )
    if folds is not None:
        return out_of_fold(alone, dict(rows.inputs), folds)
    ((_, held),) = rows.divisions
    return np.asarray(alone.answer({name: each[held] for name, each in rows.inputs.items()}))
