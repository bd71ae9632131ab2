"""More rounds of training for a table while there is time: other networks and trees, which join the blend where they help."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from danlu.artifact import load_artifact
from danlu.evaluate.intervals import figure
from danlu.evaluate.selection import gain_of, loss_of
from danlu.tasks.blend import Candidate, mixed, weights_of
from danlu.tasks.journal import Journal
from danlu.tasks.parts import Part
from danlu.tasks.recipe import Recipe
from danlu.trained import Learned, Trained

__all__ = ["Budget", "Round", "grown", "prolonged", "varied"]

_TREES = 3  # every so many rounds are trees, the others networks
_CAUTION = 1.1  # a round may take so much longer than the last one of its kind
_ROUNDS = 200
_TOLD = 6  # rounds that are told one by one


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long a table is learnt from.

    Attributes:
        minutes: from the beginning of the training; the default's own training is done whatever it takes.
        folder: where finished rounds are kept, so that a run that was stopped has them when it is resumed; None keeps none.
        refold: the fold of each training row in a round, ``(rows,)``; None where validation rows are held out from all.
    """

    minutes: float
    folder: Path | None = None
    refold: Callable[[int], np.ndarray] | None = None


@dataclasses.dataclass(frozen=True)
class Round:
    """What a round brought.

    Attributes:
        name: of the part that was trained.
        told: its settings, in words.
        seconds: from the beginning, runs that were stopped included.
        loss: of the blend afterwards, for rows that none of its parts learnt from.
    """

    name: str
    told: str
    seconds: float
    loss: float


def varied(plan: Recipe, number: int, seed: int) -> tuple[Recipe, str]:
    """The recipe of a round's network, and what is different in words: first other seeds and folds, then other settings as well.

    Width, depth, dropout, rate and decay are drawn around the recipe's.

    Example:
        >>> from danlu.tasks import recipe
        >>> varied(recipe("binary", 500, numeric=4), 1, seed=0)[1]
        'other seeds'
    """
    if number < 2:
        return plan, "other seeds"
    rng = np.random.default_rng([seed, number])
    network: Any = plan.model
    width = max(16, int(network.width * rng.choice([0.67, 1.0, 1.5])) // 8 * 8)
    depth = max(1, network.depth + int(rng.choice([-1, 0, 1])))
    dropout = float(rng.choice([0.0, 0.1, 0.2, 0.35]))
    rate = plan.learning_rate * float(rng.choice([0.5, 1.0, 1.5]))
    decay = plan.weight_decay * float(rng.choice([0.3, 1.0, 3.0, 10.0]))
    model = network.replace(width=width, depth=depth, dropout=dropout)
    told = f"width {width}, depth {depth}, dropout {dropout:g}, rate {rate:.2g}, decay {decay:.2g}"
    return plan.replace(model=model, learning_rate=rate, weight_decay=decay), told


def grown(number: int, seed: int) -> tuple[dict[str, Any], str]:
    """The settings of a round's gradient boosting in place of the default's, and what they are in words."""
    rng = np.random.default_rng([seed, number, 1])
    changes = {
        "max_leaf_nodes": int(rng.choice([6, 10, 16, 31])),
        "min_samples_leaf": int(rng.choice([5, 10, 20, 40])),
        "max_features": float(rng.choice([0.3, 0.5, 0.8])),
        "learning_rate": float(rng.choice([0.03, 0.05, 0.08])),
    }
    told = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in changes.items())
    return changes, told


def prolonged(
    learned: Learned,
    known: Sequence[Candidate],
    budget: Budget,
    *,
    network: Callable[[int], tuple[Learned, Candidate | None, str]],
    trees: Callable[[int], tuple[Learned, Candidate | None, str]],
    answers: Callable[[Part, int], np.ndarray],
    truth: np.ndarray,
    weight: np.ndarray | None,
    begun: float,
) -> Learned:
    """Train more networks and trees until the time is over, and blend what helps of them all.

    Every second and third round of three are networks, the third trees; each is judged on rows that it did not learn from, and the
    weights are chosen anew among everything there is. A round is begun only if one of its kind would still end in time. What the clock
    decided is kept in a :class:`~danlu.tasks.journal.Journal`: a run that was killed and is resumed trains the same rounds.

    Args:
        learned: the default's network.
        known: the parts of the default's blend, the network first.
        network, trees: train the part of a round: the record of it, which says whether a signal ended it, the part (None where it
            cannot be fitted to the rows), and its settings in words.
        answers: what the part of a round answers for the held-out rows.
        truth, weight: of these rows.
        begun: when the training began, on the clock ``time.monotonic``.

    Returns:
        The blend, with the rounds in its notes.
    """
    library, journal = list(known), Journal(budget.folder, begun)
    start = journal.read(0) or journal.write(0, seconds=journal.seconds)
    alone = _mean(library, truth, weight)
    rounds = [Round("", "", start["seconds"], loss_of(alone, truth, weight))]
    first = sum(row.get("seconds", 0.0) for row in learned.fitted.history)  # the rest of the default is the trees'
    lasted = {"network": first, "boosting": max(start["seconds"] - first, 0.0)}
    stopped: Learned | None = None
    for number in range(1, _ROUNDS + 1):
        kind = "boosting" if number % _TREES == 0 else "network"
        name = f"{kind} {1 + number // _TREES if kind == 'boosting' else 1 + number - number // _TREES}"
        known_of = journal.read(number, name)
        if not known_of:
            if journal.over(number, budget.minutes, _CAUTION * lasted[kind]):
                break
            known_of = journal.write(number, name=name, begun=journal.seconds)
        if "seconds" not in known_of:
            again, found, told = (network if kind == "network" else trees)(number)
            if again.fitted.stopped_by is not None:
                stopped = again
                break
            part = None if found is None else dataclasses.replace(found.part, name=name)
            _keep(journal.place(number), learned.model, part)
            known_of = journal.write(
                number, **{**known_of, "told": told, "seconds": journal.seconds, "fitted": part is not None}
            )
            joined = None if found is None or part is None else Candidate(part, found.answers)
        else:
            kept = _kept(journal.place(number), name) if known_of.get("fitted", True) else None
            joined = None if kept is None else Candidate(kept, answers(kept, number))
        lasted[kind] = known_of["seconds"] - known_of.get("begun", rounds[-1].seconds)
        if joined is not None:
            library.append(joined)
            rounds.append(
                Round(
                    name, known_of["told"], known_of["seconds"], loss_of(_mean(library, truth, weight), truth, weight)
                )
            )
    whole = mixed(learned, library, truth, weight)
    if stopped is not None:
        ended = dataclasses.replace(
            whole.fitted, stopped_because=stopped.fitted.stopped_because, stopped_by=stopped.fitted.stopped_by
        )
        whole = dataclasses.replace(whole, fitted=ended)
    said = _told(rounds, budget, classes=library[0].answers.ndim == 2)
    if min(each.loss for each in rounds) < rounds[0].loss:
        said.append(_gained(gain_of(alone, _mean(library, truth, weight), truth, weight), len(truth)))
    return dataclasses.replace(whole, notes=(*whole.notes, *said))


def _gained(gain: tuple[float, float, float], rows: int) -> str:
    """What all rounds together brought, and whether the rows can tell."""
    value, low, high = (figure(each, 3) for each in gain)
    tell = "" if gain[1] > 0 else f": {rows:,} rows cannot tell that from nothing"
    return f"together {value} lower than with the default's parts (95 % interval {low} to {high}){tell}"


def _mean(library: Sequence[Candidate], truth: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """The blend's answers."""
    answers = [each.answers for each in library]
    shares = weights_of(answers, truth, weight)
    mean: Any = sum(share * each for share, each in zip(shares, answers, strict=True))
    return np.asarray(mean)


def _told(rounds: Sequence[Round], budget: Budget, *, classes: bool) -> list[str]:
    """What each minute bought: the rounds after which the blend was better than ever; of many the first and the last ones."""
    what = "log loss" if classes else "RMSE"
    shown = [figure(each.loss if classes else math.sqrt(each.loss)) for each in rounds]
    first = rounds[0]
    if len(rounds) == 1 and first.seconds > 60 * budget.minutes:
        return [
            f"the default took {first.seconds / 60:.1f} minutes; there was no time for more within {budget.minutes:g}"
        ]
    begun = f"rows not learnt from: {what} {shown[0]} after {first.seconds / 60:.1f} minutes, with the default's parts"
    best, better = first.loss, []
    for each, text in itertools.islice(zip(rounds, shown, strict=True), 1, None):
        if each.loss < best:
            best = each.loss
            better.append(f"{what} {text} after {each.seconds / 60:.1f} minutes, with {each.name} ({each.told})")
    if len(rounds) == 1:
        better = [f"no further round would have ended within {budget.minutes:g} minutes"]
    elif not better:
        better = [f"{len(rounds) - 1} more rounds made it no better"]
    elif len(better) > _TOLD:
        better = [*better[:2], f"… and {len(better) - 4} more rounds that made it better …", *better[-2:]]
    return [begun, *better]


def _keep(place: Path | None, model: Trained, part: Part | None) -> None:
    if place is None or part is None:
        return
    own = dataclasses.replace(
        model, network=part.network, params=part.params, state=part.state, head=model.head.plain()
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    own.save(place)


def _kept(place: Path | None, name: str) -> Part | None:
    """The part of a round that a killed run finished."""
    if place is None:
        return None
    saved = load_artifact(place)
    return Part(name, saved.model, saved.params, saved.state)
