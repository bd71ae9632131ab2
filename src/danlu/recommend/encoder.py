"""Users and items as numbers, with what each user had: what a recommender knows of its data."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl

from danlu.data.fields import Field
from danlu.errors import ArtifactError, SchemaError
from danlu.recommend.features import Features
from danlu.recommend.interactions import Interactions, Named, by_users

__all__ = ["RecommendEncoder"]

_SHOWN = 5  # names in a message


@dataclasses.dataclass(frozen=True, eq=False)
class RecommendEncoder:
    """Rows of a user and an item as numbers. Number 0 is who or what is not known; the others count from 1.

    Attributes:
        named: the columns.
        users, items: their names, by number less 1.
        starts, had, ratings: the items that each user had, in its order: those of user ``u`` are ``had[starts[u]:starts[u + 1]]``,
            with the ratings beside them, where there are any.
        length: how many of the last items the network reads; 0 is none.
        of_users, of_items: how what is known about them becomes numbers, or None.
        user_features, item_features: these numbers, by number; None without.
    """

    named: Named
    users: tuple[str, ...]
    items: tuple[str, ...]
    starts: np.ndarray
    had: np.ndarray
    ratings: np.ndarray | None = None
    length: int = 0
    of_users: Features | None = None
    of_items: Features | None = None
    user_features: np.ndarray | None = None
    item_features: np.ndarray | None = None

    KIND: ClassVar[str] = "recommend"

    def knowing(self, pairs: Interactions) -> Self:
        """The same, where users had these pairs."""
        pairs = pairs.in_order()
        ratings = None if pairs.rating is None else pairs.rating.astype(np.float32)
        return dataclasses.replace(
            self, starts=by_users(pairs, len(self.users) + 1), had=pairs.item.astype(np.int32), ratings=ratings
        )

    # The schema.

    @property
    def in_shape(self) -> dict[str, tuple[int, ...]]:
        features = {
            name: (int(values.shape[1]),)
            for name, values in (("user_features", self.user_features), ("item_features", self.item_features))
            if values is not None
        }
        return {"user": (), "item": (), **({"history": (self.length,)} if self.length else {}), **features}

    @property
    def fields(self) -> tuple[Field, ...]:
        own = [
            Field(name, "category", is_open=True, example=known[0] if known else "1")
            for name, known in ((self.named.user, self.users), (self.named.item, self.items))
        ]
        return (*own, *(field for each in (self.of_users, self.of_items) if each is not None for field in each.fields))

    @functools.cached_property
    def _places(self) -> tuple[dict[str, int], dict[str, int]]:
        return tuple({name: place for place, name in enumerate(names, 1)} for names in (self.users, self.items))  # type: ignore[return-value]

    def user_numbers(self, names: Sequence[str]) -> np.ndarray:
        """The number of each user; 0 for who is not known."""
        return np.array([self._places[0].get(name, 0) for name in names], np.int32)

    def item_numbers(self, names: Sequence[str]) -> np.ndarray:
        """The number of each item; 0 for what is not known."""
        return np.array([self._places[1].get(name, 0) for name in names], np.int32)

    def rows(self, records: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> pl.DataFrame:
        """Records as a frame of names and features; see :class:`~danlu.trained.encoder.Encoder`."""
        columns: dict[str, list[Any]] = {
            field.name: [each.get(field.name) for each in records] for field in self.fields
        }
        for name in (self.named.user, self.named.item):
            for number, value in enumerate(columns[name], 1):
                if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
                    raise SchemaError(
                        f"{name!r} of record {number} is {str(value)[:60]!r}; expected a name or a number"
                    )
            columns[name] = [str(value).strip() for value in columns[name]]
        found = pl.DataFrame({name: pl.Series(name, values, strict=False) for name, values in columns.items()})
        self.tell(found, say)
        return found

    def tell(self, rows: pl.DataFrame, say: Callable[[str], None]) -> None:
        """Say which users and items are not known, and what they are answered from."""
        for name, numbers, features, whose in (
            (self.named.user, self.user_numbers, self.of_users, "users"),
            (self.named.item, self.item_numbers, self.of_items, "items"),
        ):
            if name not in rows.columns:
                continue
            given = rows[name].unique(maintain_order=True).to_list()
            strange = [each for each, number in zip(given, numbers(given), strict=True) if not number]
            if strange:
                shown = ", ".join(map(repr, strange[:_SHOWN])) + (", …" if len(strange) > _SHOWN else "")
                told = "their features" if features is not None else "what all others did"
                say(f"{whose} that were not in the training data, {len(strange):,}, are answered from {told}: {shown}")

    # To arrays.

    def transform(self, rows: pl.DataFrame) -> dict[str, np.ndarray]:
        """Rows of names as numbers, with what a network reads of each."""
        user = self.user_numbers(rows[self.named.user].to_list())
        item = self.item_numbers(rows[self.named.item].to_list())
        return {**self.of_user_numbers(user, rows), **self.of_item_numbers(item, rows)}

    def of_user_numbers(self, user: np.ndarray, rows: pl.DataFrame | None = None) -> dict[str, np.ndarray]:
        """What a network reads of users; ``rows`` has the features of those that are not known."""
        found: dict[str, np.ndarray] = {"user": user}
        if self.length:
            found["history"] = self.history(user)
        if self.user_features is not None:
            found["user_features"] = _features(self.of_users, self.user_features, user, rows)
        return found

    def of_item_numbers(self, item: np.ndarray, rows: pl.DataFrame | None = None) -> dict[str, np.ndarray]:
        """What a network reads of items."""
        found: dict[str, np.ndarray] = {"item": item}
        if self.item_features is not None:
            found["item_features"] = _features(self.of_items, self.item_features, item, rows)
        return found

    def history(self, user: np.ndarray, length: int | None = None) -> np.ndarray:
        """The last items that each user had, in order, ``(users, length)``, padded with 0 on the left."""
        length = self.length if length is None else length
        found = np.zeros((len(user), length), np.int32)
        for row, number in enumerate(user):
            last = self.had[self.starts[number] : self.starts[number + 1]][-length:]
            found[row, length - len(last) :] = last
        return found

    @functools.cached_property
    def popularity(self) -> np.ndarray:
        """The share of users who had each item, ``(items + 1,)``; half a user for none."""
        counts = np.bincount(self.had, minlength=len(self.items) + 1).astype(np.float64)
        return np.maximum(counts, 0.5) / max(len(self.users), 1)

    # To plain data and back.

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """As plain data and arrays."""
        told: dict[str, Any] = {
            "kind": self.KIND,
            "columns": dataclasses.asdict(self.named),
            "users": list(self.users),
            "items": list(self.items),
            "length": self.length,
            "of_users": None if self.of_users is None else self.of_users.state(),
            "of_items": None if self.of_items is None else self.of_items.state(),
        }
        names = ("starts", "had", "ratings", "user_features", "item_features")
        return told, {name: np.asarray(value) for name in names if (value := getattr(self, name)) is not None}

    @classmethod
    def from_state(cls, data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """The inverse of :meth:`state`.

        Raises:
            ArtifactError: it is damaged.
        """
        try:
            of_users, of_items = (
                None if data[name] is None else Features.from_state(data[name]) for name in ("of_users", "of_items")
            )
            found = cls(
                Named(**data["columns"]),
                tuple(map(str, data["users"])),
                tuple(map(str, data["items"])),
                np.asarray(arrays["starts"]),
                np.asarray(arrays["had"]),
                arrays.get("ratings"),
                int(data["length"]),
                of_users,
                of_items,
                arrays.get("user_features"),
                arrays.get("item_features"),
            )
            found._check()
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ArtifactError(f"the saved users and items are damaged: {str(error)[:200]}") from error
        return found

    def _check(self) -> None:
        """Refuse arrays that do not belong together."""
        starts, had = self.starts, self.had
        users, items = len(self.users) + 1, len(self.items) + 1
        sound = (
            starts.shape == (users + 1,) and starts[0] == 0 and starts[-1] == len(had) and (np.diff(starts) >= 0).all()
        )
        sound = sound and had.ndim == 1 and (not len(had) or (had.min() > 0 and had.max() < items)) and self.length >= 0
        sound = sound and (self.ratings is None or self.ratings.shape == had.shape)
        sound = sound and all(len(set(names)) == len(names) for names in (self.users, self.items))
        for features, values, count in (
            (self.of_users, self.user_features, users),
            (self.of_items, self.item_features, items),
        ):
            width = None if features is None else (count, features.width)
            sound = sound and (None if values is None else values.shape) == width
        if not sound:
            raise ValueError("arrays that do not belong together")


def _features(known: Features | None, table: np.ndarray, numbers: np.ndarray, rows: pl.DataFrame | None) -> np.ndarray:
    """The features of each: those that are known by number; of who is not known, those that the rows have."""
    found: np.ndarray = table[numbers]
    if rows is not None and known is not None and (numbers == 0).any():
        found = np.where((numbers == 0)[:, None], known.transform(rows), found)
    return found.astype(np.float32)
