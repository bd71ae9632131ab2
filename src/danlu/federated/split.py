"""Who has which rows: natural clients by a column, and ways to divide rows among simulated ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu.engine.order import rng_for
from danlu.errors import ConfigError, DataError

__all__ = ["SPLITS", "Clients", "by_classes", "by_dirichlet", "by_quantity", "by_value", "evenly"]

SPLITS = ("even", "dirichlet", "classes", "quantity")
"""The ways to divide rows among simulated clients."""


@dataclasses.dataclass(frozen=True, eq=False)
class Clients:
    """Clients by name, with the numbers of their rows.

    Attributes:
        names: of each.
        rows: the numbers of each one's rows, in rising order.
        said: how they were found, in a few words.
    """

    names: tuple[str, ...]
    rows: tuple[np.ndarray, ...]
    said: str

    def __post_init__(self) -> None:
        empty = [name for name, rows in zip(self.names, self.rows, strict=True) if not len(rows)]
        if empty:
            raise DataError(
                f"of {len(self.names)} clients {len(empty)} have no rows ({self.said}), such as client {empty[0]}",
                hint="fewer clients, more rows, or a split that is more even",
            )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sizes(self) -> np.ndarray:
        """The number of each client's rows."""
        return np.array([rows.size for rows in self.rows])


def _numbered(parts: Sequence[np.ndarray], said: str) -> Clients:
    names = tuple(f"client {number}" for number in range(1, len(parts) + 1))
    return Clients(names, tuple(np.sort(part).astype(np.int32) for part in parts), said)


def _checked(rows: int, clients: int, each: int = 1) -> None:
    """Refuse a number of clients that so many rows cannot have.

    Raises:
        ConfigError: see above.
    """
    if clients < 1:
        raise ConfigError(f"clients is {clients}; expected 1 or more")
    if rows < clients * each:
        raise ConfigError(
            f"{rows:,} rows cannot be divided among {clients:,} clients; expected {clients * each:,} or more",
            hint=f"clients={max(1, rows // each)} at most",
        )


def by_value(values: Sequence[Any] | np.ndarray) -> Clients:
    """The natural clients: a client for each value of a column.

    >>> by_value(["north", "south", "north"]).sizes.tolist()
    [2, 1]
    """
    names, codes = np.unique(np.asarray([str(value) for value in values]), return_inverse=True)
    rows = tuple(np.flatnonzero(codes == code).astype(np.int32) for code in range(len(names)))
    return Clients(tuple(names.tolist()), rows, "one for each value of a column")


def evenly(rows: int, clients: int, *, seed: int = 0) -> Clients:
    """Rows dealt out at random, as many to each client as to any other, but for one.

    >>> evenly(10, 3).sizes.tolist()
    [4, 3, 3]
    """
    _checked(rows, clients)
    return _numbered(np.array_split(rng_for(seed).permutation(rows), clients), "rows dealt out evenly")


def by_dirichlet(labels: np.ndarray, clients: int, *, alpha: float = 0.5, least: int = 10, seed: int = 0) -> Clients:
    """The rows of each class shared out by shares drawn from a Dirichlet distribution: the smaller α, the more clients differ.

    It is drawn again until each client has ``least`` rows.

    Args:
        labels: the class of each row.
        alpha: α > 0 of the distribution.

    Reference:
        Li et al. (2022), Federated learning on non-IID data silos (NIID-Bench), section 3.2; Hsu et al. (2019), arXiv:1909.06335.

    >>> by_dirichlet(np.arange(1000) % 10, 5, alpha=100.0).sizes.sum()
    np.int64(1000)
    """
    if alpha <= 0:
        raise ConfigError(f"alpha is {alpha}; expected a number above 0")
    labels = np.asarray(labels)
    least = min(least, labels.size // (2 * max(clients, 1)))
    _checked(labels.size, clients)
    rng = rng_for(seed)
    classes = [np.flatnonzero(labels == value) for value in np.unique(labels)]
    for _ in range(_TRIES):
        parts: list[list[np.ndarray]] = [[] for _ in range(clients)]
        for rows in classes:
            held = np.array([sum(map(len, part)) for part in parts]) < labels.size / clients
            share = rng.dirichlet(np.full(clients, alpha)) * held  # who has its part already gets no more
            if share.sum() <= 0:
                break
            cuts = (np.cumsum(share / share.sum())[:-1] * rows.size).astype(int)
            for part, given in zip(parts, np.split(rng.permutation(rows), cuts), strict=True):
                part.append(given)
        found = [np.concatenate(part) if part else np.zeros(0, int) for part in parts]
        if sum(map(len, found)) == labels.size and min(map(len, found)) >= max(least, 1):
            return _numbered(found, f"classes shared out by a Dirichlet distribution of {alpha:g}")
    raise ConfigError(
        f"of {_TRIES} draws with alpha={alpha:g} none left each of {clients} clients {max(least, 1)} rows",
        hint="a larger alpha, or fewer clients",
    )


_TRIES = 1000


def by_classes(labels: np.ndarray, clients: int, *, each: int = 2, seed: int = 0) -> Clients:
    """Rows sorted by class, cut into ``each`` pieces a client, and dealt out: most clients have rows of ``each`` classes.

    Args:
        labels: the class of each row.
        each: pieces a client.

    Reference:
        McMahan et al. (2017), section 3: 200 pieces of 300 rows of MNIST, two for each of 100 clients.

    >>> clients = by_classes(np.arange(1000) // 100, 5, each=2)
    >>> max(len(set((rows // 100).tolist())) for rows in clients.rows)
    2
    """
    labels = np.asarray(labels)
    if each < 1:
        raise ConfigError(f"each is {each}; expected 1 or more pieces a client")
    _checked(labels.size, clients, each)
    rng = rng_for(seed)
    shuffled = rng.permutation(labels.size)
    pieces = np.array_split(shuffled[np.argsort(labels[shuffled], kind="stable")], clients * each)
    dealt = rng.permutation(clients * each).reshape(clients, each)  # (pieces,) to (clients, each)
    return _numbered(
        [np.concatenate([pieces[piece] for piece in own]) for own in dealt],
        f"rows sorted by class, {each} piece{'s' * (each > 1)} a client",
    )


def by_quantity(rows: int, clients: int, *, alpha: float = 0.5, least: int = 10, seed: int = 0) -> Clients:
    """Rows dealt out at random, to each client a share drawn from a Dirichlet distribution, but ``least`` of them at any rate.

    >>> sizes = by_quantity(1000, 5).sizes
    >>> int(sizes.sum()), bool(sizes.min() >= 10)
    (1000, True)
    """
    if alpha <= 0:
        raise ConfigError(f"alpha is {alpha}; expected a number above 0")
    _checked(rows, clients)
    rng = rng_for(seed)
    least = min(least, rows // clients)
    share = rng.dirichlet(np.full(clients, alpha))
    cuts = (np.cumsum(share)[:-1] * (rows - least * clients)).astype(int) + least * np.arange(1, clients)
    return _numbered(
        np.split(rng.permutation(rows), cuts), f"as many rows as a Dirichlet distribution of {alpha:g} says"
    )
