"""The answers to a test by episodes: which are drawn, what a model says of their queries, and how far items lie from each other."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from danlu.engine.order import rng_for
from danlu.errors import DataError
from danlu.evaluate import Episodes
from danlu.evaluate.calibrate import scaled
from danlu.fewshot.episodes import Episode, episodes, fitting_ways
from danlu.fewshot.learners import Learner
from danlu.fewshot.objective import Episodic
from danlu.nn.layer import Layer

__all__ = ["Drawn", "Quiz", "groups_of", "logits_of", "nearest_logits", "softmax"]

_TEST = 77  # the word beside the seed by which the episodes of a test are drawn
_PAIRS = 20_000  # of different classes that are measured
_SAME = 200  # pairs of one class, of each
_TOGETHER = 8  # episodes that are computed at once


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """The episodes of a test.

    Attributes:
        episode: their form.
        order: the rows, ``(episodes, ways, shots + queries)``.
        codes: the class of each row, ``(rows,)``; rows of classes with too few of them are in no episode.
        names: of the classes.
        groups: of the classes, by number, or None.
        left: classes with too few rows.
    """

    episode: Episode
    order: np.ndarray
    codes: np.ndarray
    names: tuple[str, ...]
    groups: np.ndarray | None
    left: int

    @classmethod
    def of(cls, labels: np.ndarray, episode: Episode, count: int, *, within: bool, seed: int = 0) -> Drawn:
        """Episodes of labelled rows; of fewer ways or queries where there are not so many.

        Args:
            labels: texts, ``(rows,)``; what stands before a last ``/`` is the group of the class.
            episode: their form.
            count: how many.
            within: whether the classes of one episode are of one group.

        Raises:
            DataError: fewer than two classes with an example more than the shots.
        """
        known, codes, counts = np.unique(labels.astype(str), return_inverse=True, return_counts=True)
        names, groups = tuple(known.tolist()), groups_of(known.tolist())
        enough = counts > episode.shots
        if enough.sum() < 2:
            raise DataError(
                f"{int(enough.sum())} classes have more than {episode.shots} examples; expected 2 or more, with {episode.shots} to learn "
                "from and one to answer"
            )
        of = groups if within and groups is not None else np.zeros(len(known), int)
        ways = fitting_ways(np.bincount(of[enough]), episode.ways)
        if ways < 2:
            of, ways = np.zeros(len(known), int), int(min(episode.ways, enough.sum()))
        form = episode.replace(ways=ways, queries=int(min(episode.queries, counts[enough].min() - episode.shots)))
        rows = np.flatnonzero(enough[codes])
        draw = episodes(codes, form, count, groups=of, rows=rows)
        order = form.divided(draw(0, rng_for(seed, _TEST)))  # (episodes, ways, shots + queries)
        return cls(form, order, codes, names, groups, int((~enough).sum()))

    @property
    def classes(self) -> np.ndarray:
        """The class of each place, ``(episodes, ways)``."""
        found: np.ndarray = self.codes[self.order[..., 0]]
        return found


def groups_of(names: list[str]) -> np.ndarray | None:
    """The group of each class, by what stands before the last ``/`` of its name; None where some have none.

    >>> groups_of(["Greek/alpha", "Greek/beta", "Latin/a"]).tolist(), groups_of(["cat", "dog"])
    ([0, 0, 1], None)
    """
    above = [name.rpartition("/")[0] for name in names]
    return np.unique(above, return_inverse=True)[1] if all(above) else None


def softmax(logits: np.ndarray, temperature: Any = None) -> np.ndarray:
    """Probabilities over the last axis, in float64."""
    logits = np.asarray(logits, np.float64)
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probability: np.ndarray = shifted / shifted.sum(axis=-1, keepdims=True)
    return probability if temperature is None else scaled(probability, temperature)


@functools.partial(jax.jit, static_argnames=("objective",))
def _some(objective: Episodic, params: Any, state: Any, rows: Any, key: jax.Array) -> Any:
    return objective.logits(params, state, rows, key)


def logits_of(network: Layer, learner: Learner, params: Any, state: Any, drawn: Drawn, items: np.ndarray) -> np.ndarray:
    """The logits of the queries, ``(episodes, ways, queries, ways)``.

    Args:
        params, state: pairs, of the network and of a last layer.
        items: encoded pictures, or their vectors where the learner compares.
    """
    objective, key = Episodic(network, learner, drawn.episode), jax.random.key(0)
    count, found = len(drawn.order), []
    for low in range(0, count, _TOGETHER):
        some = drawn.order[np.minimum(np.arange(low, low + _TOGETHER), count - 1)]  # of one size: one program
        rows = items[some.ravel()]  # (episodes * size, ...)
        found.append(np.asarray(_some(objective, params, state, rows, key))[: count - low])
    return np.concatenate(found)


def nearest_logits(distance: np.ndarray, drawn: Drawn) -> np.ndarray:
    """Minus the distance to the nearest example of each class, ``(episodes, ways, queries, ways)``, from those of all pairs of rows."""
    shots = drawn.episode.shots
    support, queries = drawn.order[..., :shots], drawn.order[..., shots:]
    each = distance[
        queries[:, :, :, None, None], support[:, None, None, :, :]
    ]  # (episodes, ways, queries, ways, shots)
    found: np.ndarray = -each.min(axis=-1)
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class Quiz:
    """What was answered in a test by episodes.

    Attributes:
        drawn: the episodes.
        logits: ``(episodes, ways, queries, ways)``.
        vectors: of all rows, whose distances tell whether two are of one class; None where there are none.
    """

    drawn: Drawn
    logits: np.ndarray
    vectors: np.ndarray | None = None

    def evidence(self, temperature: Any = None, threshold: float = 0.0) -> Episodes:
        """The evidence: probabilities at a temperature, and pairs at a threshold."""
        first, second, distance = self._pairs()
        own = self.drawn.codes
        return Episodes(
            self.drawn.classes,
            softmax(self.logits, temperature),
            own[first],
            own[second],
            distance,
            threshold,
            self.drawn.groups,
            np.unique(self.drawn.classes),
        )

    def _pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs of rows, as many of one class as of each other, and their distances: some, drawn by a fixed seed."""
        nothing = np.zeros(0, int)
        if self.vectors is None:
            return nothing, nothing, np.zeros(0)
        rng, codes = rng_for(0, _TEST, 1), self.drawn.codes
        same: list[np.ndarray] = []
        for code in np.unique(self.drawn.classes):
            rows = np.flatnonzero(codes == code)
            pairs = np.stack(np.triu_indices(len(rows), 1), axis=1)
            same.append(rows[pairs[rng.permutation(len(pairs))[:_SAME]]])
        there = np.flatnonzero(np.isin(codes, np.unique(self.drawn.classes)))
        other = rng.choice(there, (2 * _PAIRS, 2))
        of = None if self.drawn.groups is None else self.drawn.groups[codes]
        if of is not None and len(np.unique(of[there])) > 1:  # half of them within a group, which are the harder ones
            partner = np.array([rng.choice(there[of[there] == of[row]]) for row in other[:2000, 0]])
            other[:2000, 1] = partner
        other = other[codes[other[:, 0]] != codes[other[:, 1]]][:_PAIRS]
        rows = np.concatenate([*same, other])
        distance = np.linalg.norm(self.vectors[rows[:, 0]] - self.vectors[rows[:, 1]], axis=1)
        return rows[:, 0], rows[:, 1], distance
