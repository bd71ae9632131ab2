"""A scorecard: columns in bins with their weight of evidence, logistic regression on them, and points.

Each column is cut into bins in which the share of the class that is looked for differs (:mod:`danlu.evaluate.binning`). The network, a
:class:`~danlu.nn.scorecard.Scorecard`, has the weights of evidence as values; it begins as naive Bayes, with all weights 1, and is
trained as every other network. Then the values become whole points, and the weights 1: the points are the model, and what they add up to
is its score.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.data import TableEncoder
from danlu.errors import DataError
from danlu.evaluate.binning import Bins, category_bins, number_bins
from danlu.nn.scorecard import Scorecard
from danlu.tasks.recipe import Recipe
from danlu.trained import Trained

__all__ = ["CardSettings", "Carded", "card_recipe", "carded", "pointed"]

_WEAK = 0.02  # the information value below which a column says nothing (Siddiqi)
_STEPS = 600  # updates
_RATE = 0.02


class CardSettings(Blueprint):
    """A scorecard.

    Args:
        bins: of a column, at most, missing values not counted.
        share: of the rows that a bin has at least.
        monotone: whether the share of the second class only rises or only falls with a number.
        score, odds: the score at which so many rows of the first class come on one of the second.
        pdo: the points that double these odds.
        compare: whether danlu's default model is trained beside it, which says what a card that can be read costs.
    """

    bins: int = setting(default=6, minimum=2, maximum=50, integer=True)
    share: float = setting(default=0.05, above=0, maximum=0.5)
    monotone: bool = True
    score: float = setting(default=600.0)
    odds: float = setting(default=50.0, above=0)
    pdo: float = setting(default=20.0, above=0)
    compare: bool = True

    @property
    def factor(self) -> float:
        """Points for a change of the odds by the factor e."""
        return self.pdo / float(np.log(2))

    @property
    def offset(self) -> float:
        """The score at odds of 1."""
        return self.score - self.factor * float(np.log(self.odds))


@dataclasses.dataclass(frozen=True, eq=False)
class Carded:
    """The bins of a table's columns, and the network that they make.

    Attributes:
        bins: of each column that the card has, numeric ones first; None for one that is left out.
        network, params, state: with weights of evidence as values.
        notes: what was left out.
    """

    bins: tuple[Bins | None, ...]
    network: Scorecard
    params: Any
    state: Any
    notes: tuple[str, ...] = ()


def carded(
    inputs: Any, labels: np.ndarray, weight: np.ndarray | None, encoder: TableEncoder, settings: CardSettings
) -> Carded:
    """The bins of encoded rows.

    Args:
        inputs: as the encoder gives them.
        labels: 0 or 1, of which 1 is looked for.
        weight: of each row, or None.

    Raises:
        DataError: rows of one class, or columns that say nothing.
    """
    looked = np.asarray(labels) == 1
    if looked.all() or not looked.any():
        raise DataError("a scorecard needs training rows of both classes", hint="give more rows")
    how: dict[str, Any] = {"most": settings.bins, "share": settings.share, "weight": weight}
    names = encoder.numeric_names
    numbers = [place for place, name in enumerate(names) if not name.endswith(":missing")]
    gaps = tuple(_gap(names, name) for name in names[: len(numbers)])
    found: list[Bins | None] = []
    for place, gap in zip(numbers, gaps, strict=True):
        column = inputs["numeric"][:, place]
        lost = np.zeros(len(column), bool) if gap < 0 else inputs["numeric"][:, gap] > 0.5
        cuts = None if encoder.scaler is None else functools.partial(encoder.scaler.between, place)
        found.append(number_bins(column, lost, looked, monotone=settings.monotone, between=cuts, **how))
    for place, (_, form, coder) in enumerate(encoder.levels):
        lost_code = len(coder.levels) + 1 if coder.has_missing else -1
        own = category_bins(inputs["categorical"][:, place], coder.cardinality, lost_code, looked, **how)
        found.append(own if form == "whole" else None)
    kept = [None if each is None or each.information < _WEAK else each for each in found]
    if not any(kept):
        raise DataError(
            f"no column has an information value of {_WEAK:g} or more, so there is nothing to make a scorecard of",
            hint="give more rows, or another model: leave model.kind out",
        )
    every = [*names[: len(numbers)], *encoder.categorical_names]
    weak = [name for name, each in zip(every, kept, strict=True) if each is None]
    notes = [f"scorecard: left out, since they tell too little of the target: {', '.join(weak)}"] if weak else []
    notes += (
        [f"scorecard: texts have no points: {', '.join(name for name, _ in encoder.words)}"] if encoder.words else []
    )
    most = max((len(each.edges) for each in kept[: len(numbers)] if each is not None), default=1)
    network = Scorecard(len(numbers), gaps, max(most, 1), encoder.cardinalities)
    params, state, _ = network.init(None, encoder.in_shape)  # type: ignore[arg-type]
    weight_of = np.ones(len(looked)) if weight is None else np.asarray(weight, np.float64)
    centre = float(np.log(weight_of[looked].sum() / weight_of[~looked].sum()))
    params = {"weight": jnp.array([float(each is not None) for each in kept]), "centre": jnp.array([centre])}
    return Carded(
        tuple(kept),
        network,
        params,
        state | _values(network, kept, [None if b is None else b.evidence for b in kept]),
        tuple(notes),
    )


def _gap(names: tuple[str, ...], name: str) -> int:
    """The place of the column that says whether this one is missing; of a part of a date-time that of its time."""
    of = [f"{name}:missing", f"{name.rpartition(':')[0]}:time:missing"]
    return next((names.index(each) for each in of if each in names), -1)


def _values(network: Scorecard, bins: Any, values: Any) -> dict[str, Any]:
    """The state of a network in which each bin of each column has its value; a column without bins has 0."""
    edges = np.full((network.numbers, network.edges), np.finfo(np.float32).max, np.float32)
    steps, first, missing = (
        np.zeros_like(edges),
        np.zeros(network.numbers, np.float32),
        np.zeros(network.numbers, np.float32),
    )
    rows = np.zeros((network.numbers, network.edges + 2, 2), np.float32)
    level, group = ([np.zeros(size, kind) for size in network.vocabularies] for kind in (np.float32, np.int32))
    met = [np.zeros((size, 2), np.float32) for size in network.vocabularies]
    for place, (own, value) in enumerate(zip(bins, values, strict=True)):
        if own is None:
            continue
        if place >= network.numbers:
            of = place - network.numbers
            level[of][:], group[of][:], met[of][:] = value[own.of_code], own.of_code, own.counts[own.of_code]
            continue
        count = len(own.edges)
        edges[place, :count], steps[place, :count] = own.edges, np.diff(value[: count + 1])
        first[place], missing[place] = value[0], value[-1]
        rows[place, : count + 1], rows[place, -1] = own.counts[:-1], own.counts[-1]
    return {
        "edges": jnp.asarray(edges),
        "steps": jnp.asarray(steps),
        "first": jnp.asarray(first),
        "missing": jnp.asarray(missing),
        "level": jnp.asarray(np.concatenate([*level, np.zeros(0, np.float32)])),
        "rows": jnp.asarray(rows),
        "group": jnp.asarray(np.concatenate([*group, np.zeros(0, np.int32)])),
        "level_rows": jnp.asarray(np.concatenate([*met, np.zeros((0, 2), np.float32)])),
    }


def card_recipe(card: Carded, rows: int, **changes: Any) -> Recipe:
    """How the weights of a card are learnt: few parameters, large batches, no decay."""
    batch = min(rows, 4096)
    fields = {
        "model": card.network,
        "loss": "categorical_cross_entropy",
        "batch_size": batch,
        "epochs": max(1, _STEPS // -(-rows // batch)),
        "learning_rate": _RATE,
        "flat": 0.5,
        "weight_decay": 0.0,
        "patience": 1000,
    }
    return Recipe.changed("card_recipe", fields, changes)


def pointed(model: Trained, card: Carded, settings: CardSettings) -> Trained:
    """The model whose values are whole points: ``round(d·w_j·WoE + (d·α + o)/n)`` with ``d = PDO/ln 2``, ``o = score − d·ln(odds)``.

    ``α`` are the log odds of the first class where all evidence is 0; they and the offset are shared out evenly among the ``n`` columns.

    Reference: Siddiqi (2006), "Scaling".
    """
    weight, alpha = (
        np.maximum(np.asarray(model.params["weight"], np.float64), 0),
        -float(np.asarray(model.params["centre"])[0]),
    )
    used = [place for place, own in enumerate(card.bins) if own is not None and weight[place] > 0]
    if not used:
        raise DataError("the scorecard has no column left that tells of the target", hint="leave model.kind out")
    share = (settings.factor * alpha + settings.offset) / len(used)
    points = [
        np.round(settings.factor * weight[place] * own.evidence + share) if place in used and own is not None else None
        for place, own in enumerate(card.bins)
    ]
    bins = [own if place in used else None for place, own in enumerate(card.bins)]
    state = {**model.state, **_values(card.network, bins, points), "scale": jnp.array([settings.factor])}
    state["anchor"] = jnp.array([settings.score, settings.odds])
    params = {"weight": jnp.array([float(own is not None) for own in bins]), "centre": jnp.array([settings.offset])}
    return dataclasses.replace(model, params=params, state=state)
