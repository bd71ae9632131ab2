"""The answers of a recommender: a rating or a score of a pair, the items for a user, items like another."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import polars as pl

from danlu.blueprint import setting
from danlu.errors import ArtifactError, ConfigError, SchemaError, nearest
from danlu.evaluate import Rows
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.recommendation import Rankings
from danlu.recommend.encoder import RecommendEncoder
from danlu.recommend.networks import Matcher, SequenceTower
from danlu.recommend.newcomer import newcomer
from danlu.recommend.rank import first, item_vectors, scorer
from danlu.trained.head import Head, namespace
from danlu.trained.read import Say, warn

if TYPE_CHECKING:
    from danlu.trained import Trained

__all__ = ["RecommendHead", "known_scores"]

_MOST = 10_000  # items that are asked for at once


class RecommendHead(Head):
    """A rating between the lowest and the highest, or a score by which items are ranked.

    Args:
        user, item: the columns.
        rating: the column of ratings; empty where items are ranked.
        low, high: the ends of the ratings.
    """

    kind = "recommend"
    verbs = ("recommend", "similar")
    instead = "danlu evaluate says how far it is off"
    labels: ClassVar[tuple[str, ...]] = ()  # it has no classes

    user: str
    item: str
    rating: str = ""
    low: float = 0.0
    high: float = setting(default=0.0)

    @property
    def task(self) -> str:
        return "rating" if self.rating else "ranking"

    @property
    def name(self) -> str:
        return self.rating

    @property
    def scale(self) -> float | None:
        return (self.high - self.low) / 4 or None

    def __call__(self, outputs: Any) -> Any:
        return namespace(outputs).clip(outputs, self.low, self.high) if self.rating else outputs

    def frame(self, answers: Any, rows: Any = None) -> pl.DataFrame:
        columns = {} if rows is None else {name: rows[name] for name in (self.user, self.item) if name in rows.columns}
        return pl.DataFrame({**columns, self.rating or "score": np.asarray(answers, np.float64)})

    def evidence(self, answers: Any, truth: Any) -> Evidence:
        if isinstance(truth, Rankings):
            return truth
        return Rows("regression", truth["rating"], answers, groups=truth["user"])

    def beside(self, answers: Any, truth: Any, rows: Any = None) -> pl.DataFrame:
        found = self.frame(answers, rows)
        if isinstance(truth, Rankings):
            ranks = pl.Series("rank", [int(rank) if np.isfinite(rank) else None for rank in truth.ranks], pl.Int64)
            return found.with_columns(ranks)
        return found.with_columns(pl.Series(f"true {self.rating}", truth["rating"]))

    def check(self, network: Any, encoder: Any) -> None:
        if not isinstance(network, Matcher) or not isinstance(encoder, RecommendEncoder):
            raise ArtifactError("the saved model is damaged: it is no recommender")
        counts = (getattr(network.user, "count", None), network.item.count)  # type: ignore[attr-defined]
        if counts[0] not in (None, len(encoder.users) + 1) or counts[1] != len(encoder.items) + 1:
            raise ArtifactError("the saved network does not fit its inputs: it has other numbers of users or items")
        if isinstance(network.user, SequenceTower) and network.user.length != encoder.length:
            raise ArtifactError("the saved network does not fit its inputs: it reads other lengths of histories")

    # What a user asks.

    def recommend(
        self,
        trained: Trained,
        users: str | int | Sequence[str | int] | None = None,
        *,
        history: Sequence[str | int] | Mapping[str, float] | None = None,
        count: int = 10,
        again: bool = False,
        because: bool = False,
        say: Say = warn,
    ) -> pl.DataFrame:
        """The items for users, or for somebody who had some items, the best first.

        A user who is not known gets the items that most users had.

        Args:
            users: their names.
            history: in their place what somebody had, in its order; of a model of ratings a dict of items and their ratings.
            count: how many items.
            again: whether items that the user had are among them.
            because: whether each item comes with the one of those that the user had which is most like it, by the cosine of the network's
                vectors.
            say: called with what is to be known of the answer.

        Returns:
            Columns of the user (not with a history), ``rank``, the item, the rating or ``score``, and ``because``.
        """
        encoder = trained.encoder
        if not 1 <= count <= _MOST:
            raise ConfigError(f"count is {count}; expected 1 to {_MOST:,} items")
        if (users is None) == (history is None):
            raise ConfigError("expected either users or a history to recommend to")
        if history is not None:
            return self._for_history(trained, history, count=count, again=again, because=because, say=say)
        names = [str(each).strip() for each in ([users] if isinstance(users, str | int) else users or ())]
        if not names:
            raise ConfigError("there is no user to recommend to; expected the name of one or more")
        numbers = encoder.user_numbers(names)
        strange = [repr(name) for name, number in zip(names, numbers, strict=True) if not number]
        if strange:
            shown = ", ".join(strange[:5]) + (", …" if len(strange) > 5 else "")
            say(f"{len(strange):,} users were not in the training data and get the items that most users had: {shown}")
        if again is False and any(self._all_had(encoder, number, count) for number in numbers):
            say(f"for some users there are fewer than {count} items that they did not have")
        places, scores = first(known_scores(trained), encoder, numbers, count, again=again)
        scores = np.where((numbers == 0)[:, None], np.nan, self(scores))
        row, rank = np.nonzero(places >= 0)
        items = places[row, rank]
        found = {
            self.user: [names[each] for each in row],
            "rank": rank + 1,
            self.item: [encoder.items[each - 1] for each in items],
            self.rating or "score": scores[row, rank],
        }
        if because:
            own = [slice(encoder.starts[user], encoder.starts[user + 1]) for user in numbers]
            ratings = encoder.ratings
            had = [(encoder.had[each], None if ratings is None else ratings[each]) for each in own]
            found["because"] = self._because(trained, [had[each] for each in row], items)
        return pl.DataFrame(found).with_columns(pl.col(self.rating or "score").fill_nan(None))

    @staticmethod
    def _all_had(encoder: RecommendEncoder, number: int, count: int) -> bool:
        had = np.unique(encoder.had[encoder.starts[number] : encoder.starts[number + 1]])
        return len(encoder.items) - len(had) < count

    def _for_history(
        self, trained: Trained, history: Any, *, count: int, again: bool, because: bool, say: Say
    ) -> pl.DataFrame:
        """The items for somebody who had others."""
        encoder: RecommendEncoder = trained.encoder
        names = [str(each).strip() for each in history]
        rated = isinstance(history, Mapping)
        if rated != bool(self.rating):
            raise ConfigError(
                f"the history has no ratings, and this model foretells {self.rating!r}; expected one beside each item"
                if self.rating
                else "the history has ratings, and this model ranks items by who had them; expected items alone",
                hint=f"--history {encoder.items[0]}" + (f"={self.high:g}" if self.rating else ""),
            )
        numbers = encoder.item_numbers(names)
        strange = [repr(name) for name, number in zip(names, numbers, strict=True) if not number]
        if not numbers.any():
            raise SchemaError(
                f"none of the history was in the training data: {', '.join(strange[:5]) or 'it is empty'}",
                hint=f"the items are {', '.join(map(repr, encoder.items[:3]))}, …",
            )
        if strange:
            say(
                f"{len(strange):,} of {len(names):,} items of the history were not in the training data: {', '.join(strange[:5])}"
            )
        had, ratings = numbers[numbers > 0], None
        if rated:
            ratings = np.array([float(each) for each in history.values()])[numbers > 0]
            out = ratings[~((ratings >= self.low) & (ratings <= self.high))]
            if len(out):
                raise ConfigError(
                    f"the history has the rating {out[0]:g}; expected {self.low:g} to {self.high:g}, as in the training data"
                )
        network: Any = trained.network
        own = newcomer(network, trained.params, trained.state, encoder, had, ratings)
        alone = dataclasses.replace(encoder, starts=np.array([0, len(had)]), had=had.astype(np.int32))
        if not again and len(encoder.items) - len(np.unique(had)) < count:
            say(f"for some users there are fewer than {count} items that they did not have")
        places, scores = first(own, alone, np.zeros(1, int), count, again=again)
        items = places[0][places[0] >= 0]
        found: dict[str, Any] = {
            "rank": np.arange(1, len(items) + 1),
            self.item: [encoder.items[each - 1] for each in items],
            self.rating or "score": self(scores[0, : len(items)]),
        }
        if because:
            found["because"] = self._because(trained, [(had, ratings)] * len(items), items)
        return pl.DataFrame(found)

    @staticmethod
    def _because(trained: Trained, histories: Sequence[Any], items: np.ndarray) -> list[str | None]:
        """Of each item the one that the user had which is most like it; of ratings, among those it did not rate below its own mean.

        Args:
            histories: beside each item what its user had, and the ratings or None.
        """
        encoder = trained.encoder
        vectors = _directions(trained)
        found: list[str | None] = []
        for (had, ratings), item in zip(histories, items, strict=True):
            if ratings is not None and len(had):
                had = had[ratings >= ratings.mean()]
            had = had[had != item]
            near = vectors[had] @ vectors[item]
            found.append(encoder.items[had[near.argmax()] - 1] if len(had) else None)
        return found

    def similar(self, trained: Trained, item: str | int, *, count: int = 10) -> pl.DataFrame:
        """The items most like another, by the cosine of the network's vectors.

        Returns:
            Columns ``rank``, the item and ``similarity``.

        Raises:
            SchemaError: an item that is not known.
        """
        encoder, name = trained.encoder, str(item).strip()
        number = int(encoder.item_numbers([name])[0])
        if not number:
            close = nearest(name, encoder.items[:10_000])
            raise SchemaError(
                f"the item {name!r} was not in the training data",
                hint=None if close is None else f"did you mean {close!r}?",
            )
        if not 1 <= count <= _MOST:
            raise ConfigError(f"count is {count}; expected 1 to {_MOST:,} items")
        vectors = _directions(trained)
        near = vectors @ vectors[number]
        near[[0, number]] = -np.inf
        places = np.argsort(-near, kind="stable")[: min(count, len(encoder.items) - 1)]
        return pl.DataFrame(
            {
                "rank": np.arange(1, len(places) + 1),
                self.item: [encoder.items[each - 1] for each in places],
                "similarity": near[places].astype(np.float64),
            }
        )


def _directions(trained: Trained) -> np.ndarray:
    """The items' vectors of length 1, without their biases, ``(items + 1, dim)``."""
    network: Any = trained.network
    vectors = item_vectors(network, trained.params, trained.state, trained.encoder)[:, :-1]
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def known_scores(trained: Trained) -> Any:
    """The scores of a recommender, and how many users had each item for a user who is not known."""
    network: Any = trained.network
    encoder: RecommendEncoder = trained.encoder
    own = scorer(network, trained.params, trained.state, encoder)
    counts = np.bincount(encoder.had, minlength=len(encoder.items) + 1)

    def scores(users: np.ndarray) -> np.ndarray:
        found = own(users)
        found[users == 0] = counts
        return found

    return scores
