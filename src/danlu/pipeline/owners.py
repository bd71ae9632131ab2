"""Whose rows are whose: the settings of federated learning, the clients of the rows, and parts drawn within each client."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from danlu.blueprint import Blueprint, setting
from danlu.data import Split
from danlu.errors import ConfigError, DataError, unknown_name
from danlu.federated.masked import check_lost, fallen
from danlu.federated.method import METHODS, Method
from danlu.federated.private import Private
from danlu.federated.split import SPLITS, Clients, by_classes, by_dirichlet, by_quantity, by_value, evenly
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Beside

__all__ = [
    "ROUNDS",
    "Federation",
    "Owners",
    "check_in_one_place",
    "column_of",
]

_ADAPTIVE = ("fedadam", "fedyogi", "fedadagrad")  # servers that take the mean change for a gradient
_FEWEST = 5  # rows of a client that are divided; of fewer all are learnt from
_TOLD = 4


class Federation(Blueprint):
    """Federated learning: whose rows are whose, and how the rounds go.

    Args:
        by: the column that says whose a row is; ``"file"`` of a folder with a file of each client.
        clients: instead, among how many simulated clients the rows are divided.
        split: how: ``"even"``, ``"dirichlet"`` (classes unevenly), ``"classes"`` (a few classes a client) or ``"quantity"``.
        alpha: of the Dirichlet distribution: the smaller, the less even.
        classes: of ``"classes"``: pieces of rows sorted by class that each client gets.
        rounds: how many.
        per_round: how many clients take part in each, drawn anew; None is all.
        local_epochs: how often a client goes through its rows in a round.
        local_steps: how many steps it takes instead.
        method: ``"fedavg"``, ``"fedprox"``, ``"fedadam"``, ``"fedyogi"``, ``"fedadagrad"``, ``"scaffold"`` or ``"fedrep"``.
        proximal: μ of ``"fedprox"``.
        server_rate: the learning rate of the server.
        tau: ε of an adaptive server.
        equal: whether all clients count alike, and not by their rows.
        optimizer: of the clients: ``"adamw"`` or ``"sgd"``; None is ``"sgd"`` with ``"scaffold"``, else ``"adamw"``.
        schedule: of the clients' rate over the rounds: ``"cosine"`` takes it down to 0, ``"constant"`` leaves it.
        together: how many clients are trained at once.
        own: parts of the network that stay with each client: ``"head"``, ``"norms"``, or patterns of paths (see
            :mod:`danlu.federated.own`). The last round is then kept, and no probabilities are calibrated.
        personal_epochs: for how many epochs each client trains the shared model further on its own rows afterwards; 0 is none.
        noise: hides whole clients: the noise multiplier (see :mod:`danlu.federated.private`); the last round is then kept, and no
            probabilities are calibrated, since validation rows are clients' too.
        clip: with noise: the largest norm of a client's change.
        local_noise: whether each client adds the noise itself, so that the server need not be trusted.
        secure: whether means are taken of masked vectors, so that a server would see of no client what it sent (see
            :mod:`danlu.federated.secure`).
        lost: the share of a round's clients that fall silent before what they learnt arrives, drawn anew in each round.
        compare: whether the model is compared with one that is trained on all rows in one place, and with each client alone.
    """

    by: str | None = None
    clients: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    split: str = setting(default="even", choices=SPLITS)
    alpha: float = setting(default=0.5, above=0)
    classes: int = setting(default=2, minimum=1, integer=True)
    rounds: int = setting(default=50, minimum=1, integer=True)
    per_round: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    local_epochs: int = setting(default=1, minimum=1, integer=True)
    local_steps: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    method: str = setting(default="fedavg", choices=METHODS)
    proximal: float | None = setting(default=None, above=0, optional=True)
    server_rate: float | None = setting(default=None, above=0, optional=True)
    tau: float = setting(default=1e-3, above=0)
    equal: bool = False
    optimizer: str | None = setting(default=None, choices=("adamw", "sgd"), optional=True)
    schedule: str = setting(default="cosine", choices=("cosine", "constant"))
    together: int = setting(default=1, minimum=1, integer=True)
    personal_epochs: int = setting(default=0, minimum=0, integer=True)
    compare: bool = True
    own: tuple[str, ...] = ()
    noise: float | None = setting(default=None, above=0, optional=True)
    clip: float = setting(default=1.0, above=0)
    local_noise: bool = False
    secure: bool = False
    lost: float = setting(default=0.0, minimum=0, maximum=0.9)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by is not None and self.clients is not None:
            raise ConfigError(
                f"federated.by is {self.by!r} and federated.clients is {self.clients}; expected one of them: clients that there are, or "
                "simulated ones"
            )
        if self.local_steps is not None and self.local_epochs != 1:
            raise ConfigError(
                f"federated.local_epochs is {self.local_epochs} and federated.local_steps is {self.local_steps}; expected one of them"
            )
        self.chosen.check_epochs(self.local_epochs, self.local_steps)
        if self.own and self.personal_epochs:
            raise ConfigError(
                f"federated.personal_epochs is {self.personal_epochs} and federated.own is {list(self.own)}; either gives each client a "
                "version of its own, so expected one of them"
            )
        if self.method == "scaffold" and self.noise is not None:
            raise ConfigError(
                "federated.method is 'scaffold', which sends a control variate of each client, and federated.noise hides none; expected "
                "another method",
                hint="federated.method=fedprox holds clients together too",
            )
        if self.method == "scaffold" and self.optimizer == "adamw":
            raise ConfigError(
                "federated.optimizer is 'adamw' and federated.method is 'scaffold', which goes by steps of plain gradient descent",
                hint="leave federated.optimizer out",
            )

    @property
    def active(self) -> bool:
        """Whether there are clients."""
        return self.by is not None or self.clients is not None

    @property
    def private(self) -> Private | None:
        """What hides whole clients."""
        return None if self.noise is None else Private(noise=self.noise, clip=self.clip, local=self.local_noise)

    @property
    def chosen(self) -> Method:
        """The method with its settings; of what is another method's :data:`ROUNDS` tells the user."""
        return Method(
            self.method,
            proximal=self.proximal if self.method == "fedprox" else None,
            server_rate=self.server_rate,
            equal=self.equal,
            own=self.own,
            tau=self.tau if self.method in _ADAPTIVE else Method.tau,
        )


def _beside() -> tuple[Beside, ...]:
    """Which settings of rounds count only beside others."""
    whose = (
        "it is not said whose rows are whose: --by COLUMN names the column that says it, --clients 10 simulates clients"
    )
    where: dict[str, tuple[Callable[[Federation], bool], str]] = {
        "split": (lambda asked: asked.clients is not None, "rows are divided among simulated clients: --clients 10"),
        "alpha": (
            lambda asked: asked.split in ("dirichlet", "quantity"),
            "it is of federated.split=dirichlet and quantity",
        ),
        "classes": (lambda asked: asked.split == "classes", "it is of federated.split=classes"),
        "proximal": (lambda asked: asked.method == "fedprox", "it is of federated.method=fedprox"),
        **dict.fromkeys(
            ("clip", "local_noise"), (lambda asked: asked.noise is not None, "add federated.noise (--noise 1)")
        ),
        "tau": (lambda asked: asked.method in _ADAPTIVE, f"it is of federated.method={', '.join(_ADAPTIVE)}"),
    }
    others = [each.name for each in dataclasses.fields(Federation) if each.name not in ("by", "clients", *where)]
    rules = {**where, **dict.fromkeys(others, (lambda asked: asked.active, whose))}
    return tuple(Beside(f"federated.{name}", _of_federation(counts), why) for name, (counts, why) in rules.items())


def _of_federation(counts: Callable[[Federation], bool]) -> Callable[[TrainConfig], bool]:
    return lambda config: counts(config.federated)


def check_in_one_place(config: TrainConfig, what: str) -> None:
    """Refuse what trains on rows in one place, where a run's rows are of clients.

    Args:
        what: a command.

    Raises:
        ConfigError: see above.
    """
    if config.federated.active:
        raise ConfigError(
            f"{what} trains on all rows in one place, and these rows are of clients, each with its own",
            hint="danlu federate trains again by rounds, with other settings",
        )


ROUNDS = _beside()
"""Which settings of rounds count only beside others."""


@dataclasses.dataclass(frozen=True, eq=False)
class Owners:
    """The clients of some rows.

    Attributes:
        names: of the clients.
        codes: the client of each row, ``(rows,)``; −1 of a row of a client that was not learnt from.
        said: how they were found.
        train, validation, test: the codes of the rows of each part.
        sample: encoded rows that are distributed as the clients', for what is set by quantiles; None takes the training rows.
        hidden: whether noise hides the clients, so that a run keeps nothing of their rows.
        versions: the variables of each client's own version, filled in where parts of the network stay with clients.
        sums: what a server sees of a round, and who is lost in it, in words; empty where all send their changes as they are.
    """

    names: tuple[str, ...]
    codes: np.ndarray
    said: str
    train: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int32))
    validation: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int32))
    test: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int32))
    sample: Any = None
    sums: str = ""
    hidden: bool = False
    versions: list[Any] = dataclasses.field(default_factory=list)

    @classmethod
    def of(
        cls, config: TrainConfig, rows: int, labels: pl.Series | None, column: pl.Series | None = None
    ) -> Owners | None:
        """The clients that the settings name; None without any.

        Args:
            rows: how many there are.
            labels: of the rows, where they are classes.
            column: that says whose a row is.

        Raises:
            ConfigError: a way of dividing that is for classes; more clients than rows.
            DataError: rows without a client.
        """
        asked = config.federated
        if not asked.active:
            return None
        found = cls._of(config, rows, labels, column)
        return dataclasses.replace(found, sums=_sums(asked, len(found.names)), hidden=asked.noise is not None)

    @classmethod
    def _of(cls, config: TrainConfig, rows: int, labels: pl.Series | None, column: pl.Series | None) -> Owners:
        asked = config.federated
        if column is not None:
            empty = column.null_count() + int((column.cast(pl.String).str.strip_chars() == "").sum())
            if empty:
                raise DataError(
                    f"{empty:,} of {rows:,} rows have no value in {column.name!r}, which says whose a row is; expected one for each row",
                    hint="leave these rows out, or give them a client of their own",
                )
            return cls._from(by_value(column.to_list()), rows, f"a client for each value of {column.name!r}")
        if asked.by is not None:
            raise ConfigError(
                f"federated.by is {asked.by!r}, a column; this data has no columns beside its labels",
                hint="--clients 10 simulates clients",
            )
        seed, count = config.trainer.seed, asked.clients
        if asked.split in ("dirichlet", "classes"):
            if labels is None:
                raise ConfigError(
                    f"federated.split is {asked.split!r}, which divides classes, and the target is a quantity",
                    hint="federated.split=quantity, or even",
                )
            codes = labels.cast(pl.String).rank("dense").fill_null(0).to_numpy()
            if asked.split == "dirichlet":
                return cls._from(by_dirichlet(codes, count, alpha=asked.alpha, seed=seed), rows)
            return cls._from(by_classes(codes, count, each=asked.classes, seed=seed), rows)
        if asked.split == "quantity":
            return cls._from(by_quantity(rows, count, alpha=asked.alpha, seed=seed), rows)
        return cls._from(evenly(rows, count, seed=seed), rows)

    @classmethod
    def _from(cls, clients: Clients, rows: int, said: str = "") -> Owners:
        codes = np.full(rows, -1, np.int32)
        for number, own in enumerate(clients.rows):
            codes[own] = number
        return cls(clients.names, codes, said or clients.said)

    def divide(
        self, config: TrainConfig, source: pl.DataFrame | int, *, together: Any = None, **how: Any
    ) -> tuple[Split, tuple[str, ...]]:
        """The rows of each client in parts, as :meth:`TrainConfig.divide` makes them; those of a client with few rows are all learnt from.

        Args:
            together: groups of equal rows to keep in one part.

        Returns:
            The parts, and what the user should know.
        """
        parts: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
        few, said = [], ""
        for number, name in enumerate(self.names):
            own = np.flatnonzero(self.codes == number)
            split = None
            if own.size >= _FEWEST:
                rows = source[own] if isinstance(source, pl.DataFrame) else own.size
                try:
                    split = config.divide(rows, together=None if together is None else together[own], **how)
                except DataError:
                    split = None
            if split is None or not len(split.train):
                few.append(name)
                parts["train"].append(own)
                continue
            said = split.description
            for part, found in parts.items():
                found.append(own[getattr(split, part)])
        train, validation, test = (
            np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64) for found in parts.values()
        )
        told: tuple[str, ...] = ()
        if few:
            shown = ", ".join(few[:_TOLD]) + (f" and {len(few) - _TOLD} more" if len(few) > _TOLD else "")
            told = (f"too few rows to divide, so all are learnt from: client{'s' * (len(few) > 1)} {shown}",)
        return Split(train, validation, test, f"{said}, within each of {len(self.names)} clients" if said else ""), told

    def parted(self, train: np.ndarray, validation: np.ndarray, test: np.ndarray) -> Owners:
        """The same with the codes of the rows of each part, which are given by their numbers.

        Raises:
            DataError: a client without rows to learn from.
        """
        found = dataclasses.replace(
            self, train=self.codes[train], validation=self.codes[validation], test=self.codes[test]
        )
        counts = np.bincount(found.train, minlength=len(self.names))
        if not counts.all():
            empty = [name for name, count in zip(self.names, counts, strict=True) if not count]
            raise DataError(f"client {empty[0]} has no rows to learn from; expected one or more", hint="leave it out")
        return found

    def tested(self, codes: np.ndarray) -> Owners:
        """The same with the clients of test rows from elsewhere."""
        return dataclasses.replace(self, test=codes)

    def like(self, own: np.ndarray | None, labels: np.ndarray | None, rows: int, seed: int) -> np.ndarray:
        """A client for each of ``rows`` rows that have none, as the clients' own rows are shared out.

        Args:
            own: the class of each training row, ``labels`` those of the rows; None deals them out by the clients' sizes.
        """
        rng, found = np.random.default_rng(seed), np.zeros(rows, np.int32)
        known = np.zeros(self.train.size, int) if own is None else np.asarray(own)
        asked = np.zeros(rows, int) if labels is None else np.asarray(labels)
        for value in np.unique(asked):
            counts = np.bincount(self.train[known == value], minlength=len(self.names))
            counts = counts if counts.sum() else np.bincount(self.train, minlength=len(self.names))
            mine = rng.permutation(np.flatnonzero(asked == value))
            cuts = np.round(np.cumsum(counts)[:-1] / counts.sum() * mine.size).astype(int)
            for number, part in enumerate(np.split(mine, cuts)):
                found[part] = number
        return found

    def rows(self, part: str) -> list[np.ndarray]:
        """The numbers of each client's rows within a part."""
        codes = getattr(self, part)
        return [np.flatnonzero(codes == number) for number in range(len(self.names))]

    @property
    def sizes(self) -> np.ndarray:
        """How many rows each client learns from."""
        return np.bincount(self.train, minlength=len(self.names))

    def __str__(self) -> str:
        sizes = self.sizes if self.train.size else np.bincount(self.codes, minlength=len(self.names))
        between = f"{sizes.min():,} to {sizes.max():,}" if sizes.min() < sizes.max() else f"{sizes.min():,}"
        return f"{len(self.names):,} client{'s' * (len(self.names) > 1)} of {between} training rows ({self.said})" + (
            f"; {self.sums}" if self.sums else ""
        )


def _sums(asked: Federation, clients: int) -> str:
    """What a server sees of a round, and who is lost in it."""
    each = asked.per_round or clients
    check_lost(asked.lost, each, secure=asked.secure)
    said = ["secure sums: a server would see the mean of a round and of no client what it sent"] * asked.secure
    if asked.lost:
        gone = fallen(asked.lost, each)
        one, several = f"1 of {each} clients is lost in each round", f"{gone} of {each} clients are lost in each round"
        said.append(one if gone == 1 else several)
    return "; ".join(said)


def column_of(frame: pl.DataFrame, asked: Federation, target: str) -> pl.Series | None:
    """The column that says whose a row is; None where clients are simulated.

    Raises:
        ConfigError: there is no such column, or it is the target.
    """
    if asked.by is None:
        return None
    if asked.by not in frame.columns:
        raise unknown_name("column of clients", asked.by, frame.columns)
    if asked.by == target:
        raise ConfigError(f"federated.by names {target!r}, which is the target; expected another column")
    return frame[asked.by]
