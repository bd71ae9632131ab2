"""Which clients take part in a round, and the rows that each of them visits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from danlu.engine.arrays import as_arrays, rows_of, shapes_of
from danlu.engine.order import check_order, num_batches, pad_rows, rng_for
from danlu.engine.poisson import Poisson, Secret
from danlu.engine.sources import Check, Piece
from danlu.errors import ConfigError, DataError
from danlu.federated.private import room_for

__all__ = ["RoundSource", "drawn"]

_DRAW = 2**31  # beside seed and round, for which clients take part; a client's rows are drawn by (seed, epoch)


class RoundSource:
    """Arrays whose rows belong to clients: an epoch is a round.

    The order of a round has a row for each client that takes part, ``(clients, batches·batch_size)``: the client's rows in a random
    sequence, once for each local epoch, each epoch filled up to whole batches with rows of weight 0. The rows of client i are drawn as
    those of a training of the seed ``seed + i``, whose epochs these are: with one client, a round of one epoch is an epoch.

    Args:
        data: ``(x, y)`` or ``(x, y, weight)``, of all clients.
        clients: the numbers of each client's rows.
        batch_size: rows of a client's step.
        per_round: how many clients take part in a round, drawn without replacement; None is all of them.
        local_epochs: how often a client goes through its rows in a round.
        local_steps: how many steps it takes instead, whatever the number of its rows.
        equal: whether all clients count alike in the mean, and not by their rows.
        seed: decides who takes part, and the sequence of rows.
        multiple: a round is filled up with absent clients to a multiple of this.
        poisson: whether each client takes part by a draw of its own, ``per_round`` of them in the mean.
        names: of the clients, for messages.
        expected: of private rows (see :mod:`danlu.federated.rows`): how many a batch has on average; ``batch_size`` is then its room.
        secret: what private rows, and with ``poisson`` clients, are drawn by, instead of by ``seed``.

    Attributes:
        shares: pᵢ, what each client counts for in the mean of all; their sum is 1.

    Raises:
        DataError: no client, a client without rows, a row of two clients.
    """

    members = None

    def __init__(
        self,
        data: Any,
        clients: Sequence[np.ndarray],
        *,
        batch_size: int,
        per_round: int | None = None,
        local_epochs: int = 1,
        local_steps: int | None = None,
        equal: bool = False,
        seed: int = 0,
        multiple: int = 1,
        poisson: bool = False,
        names: Sequence[str] | None = None,
        expected: float | None = None,
        secret: Secret | None = None,
    ) -> None:
        chunk = data if isinstance(data, dict) and set(data) == {"x", "y", "weight"} else as_arrays(data)
        self.rows = rows_of(chunk["x"], "x")
        self.in_shape = shapes_of(chunk["x"])
        self.batch_size, self.seed = batch_size, seed
        self.local_epochs, self.local_steps = local_epochs, local_steps
        self.clients = _checked(clients, self.rows, names)
        count = len(self.clients)
        self.per_round = count if per_round is None else per_round
        if not 1 <= self.per_round <= count:
            raise ConfigError(f"clients_per_round is {self.per_round}; expected 1 to {count}, the number of clients")
        self.poisson = poisson and self.per_round < count
        room = room_for(count, self.per_round) if self.poisson else self.per_round
        self.width = -(-room // multiple) * multiple
        sizes = np.array([rows.size for rows in self.clients])
        self.samplers: list[Poisson] | None = None
        if expected is not None and secret is not None:
            self.samplers = [
                Poisson(size, expected / size, batch_size, secret.part(number))
                for number, size in enumerate(sizes.tolist())
            ]
        self._expected, self._secret = expected, secret
        self.shares = np.full(count, 1 / count) if equal else sizes / sizes.sum()
        each = [self.batches_of(size) for size in sizes.tolist()]
        self.batches, self.even = max(each), len(set(each)) == 1 and not self.poisson
        self.rows_per_round = max(1, round(self.per_round * sum(each) * batch_size / count))
        number = np.zeros(self.rows, np.int32)
        for client, rows in enumerate(self.clients):
            number[rows] = client
        count_of = np.ones(count, np.int32) if equal else sizes.astype(np.int32)
        own = {"number": number, "share": np.asarray(self.shares, np.float32)[number], "count": count_of[number]}
        self.chunk = jax.device_put(pad_rows({**chunk, "client": own}, self.rows))
        shapes = jax.eval_shape(lambda x: x, chunk["x"])
        self._labels = {"x": shapes, "y": chunk["y"], "weight": chunk["weight"]}
        self.steps_per_epoch: int | None = 1

    def batches_of(self, size: int) -> int:
        """The batches that a client of so many rows takes in a round."""
        return self.local_steps or self.local_epochs * self._of_epoch(size)

    def _of_epoch(self, size: int) -> int:
        return num_batches(size, self.batch_size) if self._expected is None else max(1, round(size / self._expected))

    def check_with(self, check: Check) -> None:
        """Run ``check`` on the targets, the weights and the inputs' shapes."""
        shape = lambda a: jax.ShapeDtypeStruct((self.rows, *a.shape[1:]), a.dtype)  # noqa: E731
        check({**self._labels, "x": jax.tree.map(shape, self.chunk["x"])})

    def drawn(self, number: int) -> np.ndarray:
        """The clients of a round, in rising order."""
        rng = self._secret.rng(number) if self.poisson and self._secret is not None else None
        return drawn(self.seed, number, len(self.clients), self.per_round, poisson=self.poisson, rng=rng)

    def order(self, number: int, client: int) -> np.ndarray:
        """The rows that a client visits in a round, with those of weight 0 that fill batches up."""
        rows, size = self.clients[client], self.batch_size
        steps = self.batches_of(rows.size)
        each = self._of_epoch(rows.size)
        epochs = -(-steps // each)
        found = []
        for epoch in range(number * epochs, (number + 1) * epochs):
            if self.samplers is not None:
                places = self.samplers[client](epoch, None)
                # What fills a batch up is a row of the client's own; not row 0, whose ~0 is the entry of a client that is absent.
                found.append(np.where(places >= 0, rows[places], ~rows.max()))
                continue
            order = rng_for(self.seed + client, epoch).permutation(rows)
            filler = np.resize(order, each * size - order.size)
            found.append(np.concatenate([order, ~filler]))
        return np.concatenate(found)[: steps * size].astype(np.int32)

    def pieces(self, epoch: int, start: int) -> Iterator[Piece]:
        """One piece: the arrays, which stay on the device, with the order of the round."""
        if start > 0:
            return
        order = np.full((self.width, self.batches * self.batch_size), -1, np.int32)
        for place, client in enumerate(self.drawn(epoch)):
            own = self.order(epoch, int(client))
            order[place, : own.size] = own
        yield Piece(self.chunk, jax.device_put(order), 1, self.batch_size)


def drawn(
    seed: int,
    number: int,
    count: int,
    per_round: int,
    *,
    poisson: bool = False,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Which of ``count`` clients take part in a round, in rising order.

    Args:
        poisson: whether each does by a draw of its own, ``per_round`` of them in the mean, as far as there is room.
        rng: what they are drawn by; None is by ``seed`` and ``number``, which are published.
    """
    if per_round == count:
        return np.arange(count)
    rng = rng_for(seed, number, _DRAW) if rng is None else rng
    if poisson:
        taken = np.flatnonzero(rng.random(count) < per_round / count)
        return np.sort(rng.permutation(taken)[: room_for(count, per_round)])
    return np.sort(rng.choice(count, per_round, replace=False))


def _checked(clients: Sequence[np.ndarray], rows: int, names: Sequence[str] | None) -> list[np.ndarray]:
    """Each client's rows.

    Raises:
        DataError: see :class:`RoundSource`.
    """
    found = [check_order(each, rows) for each in clients]
    if not found:
        raise DataError("there are no clients; expected the row numbers of at least one")
    called = [str(number) for number in range(len(found))] if names is None else list(names)
    for name, each in zip(called, found, strict=True):
        if each.size == 0:
            raise DataError(f"client {name} has no rows to learn from", hint="leave it out, or give it rows")
        if each.min() < 0:
            raise DataError(f"client {name} names the row {int(each.min())}; expected numbers from 0 to {rows - 1}")
    every = np.concatenate(found)
    if np.unique(every).size < every.size:
        values, counts = np.unique(every, return_counts=True)
        raise DataError(
            f"row {int(values[counts > 1][0])} is named {int(counts.max())} times; expected each row with one client, once"
        )
    return found
