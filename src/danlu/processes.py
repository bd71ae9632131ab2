"""Several processes that train one model together: which one this is, and what they agree on.

Every process runs the same program on the same data, and the devices of all are one mesh (:mod:`danlu.engine.mesh`), so what is computed is
the same in all. What a *host* decides is not: the clock, a signal, a name that is free. A process that decided otherwise than another would
wait for it for ever. So process 0 decides, and the others take its word:

    agree(value)  =  the value of process 0.

Process 0 alone writes. What only it does, judging and reporting, is done :func:`alone`. The word goes through the key-value store of JAX's
coordinator, not through the devices: it needs no program, and it does not wait for one.

A process that is by itself has the rank 0 of 1, and everything here costs it nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from danlu.errors import ConfigError, LostError, first_line, shorten

__all__ = [
    "agree",
    "alone",
    "ask",
    "asked_elsewhere",
    "beat",
    "count",
    "enter",
    "heard_by",
    "is_first",
    "is_joined",
    "leave",
    "lost",
    "rank",
    "same",
    "says",
    "spoken",
    "tell",
    "wait_for_first",
]

T = TypeVar("T")
_FOLDER = "danlu"
_TURN = 256  # values agreed on, after which the old ones are forgotten
_PATIENCE = 10_000  # milliseconds that a question to the coordinator waits, before it is asked again
_SAID = 4_000  # milliseconds that processes have to come to the same error


@dataclasses.dataclass
class _Group:
    rank: int
    count: int
    store: Any  # of JAX's coordinator: ``key_value_set``, ``blocking_key_value_get``, …
    spoken: int = 0
    alone: bool = False

    def next_word(self) -> int:
        """The number of a value to agree on: the same in every process."""
        self.spoken += 1
        return self.spoken - 1


class Heart(Protocol):
    """What tells a launcher how this process is."""

    def beat(self) -> None:
        """It has come further."""

    def tell(self, name: str, value: Any) -> None:
        """A fact, such as where the run is."""


_group: _Group | None = None
_heart: Heart | None = None


def enter(rank: int, count: int, store: Any) -> None:
    """This process is number ``rank`` of ``count``; :func:`danlu.launch.join` says so.

    Args:
        store: the client of JAX's coordinator; None of one process.
    """
    global _group
    _group = _Group(rank, count, store)


def leave() -> None:
    """This process is by itself again."""
    global _group
    _group = None


def heard_by(heart: Heart) -> None:
    """A launcher hears of this process by ``heart``."""
    global _heart
    _heart = heart


def is_joined() -> bool:
    """Whether this process was started as one of several, be it the last one that is left."""
    return _group is not None


def rank() -> int:
    """This process's number, from 0."""
    return 0 if _group is None or _group.alone else _group.rank


def count() -> int:
    """How many processes train together."""
    return 1 if _group is None or _group.alone else _group.count


def is_first() -> bool:
    """Whether this process decides and writes."""
    return rank() == 0


def beat() -> None:
    """This process has come further: what watches over it may go on waiting."""
    if _heart is not None:
        _heart.beat()


def spoken() -> int:
    """How many values this process has agreed on; one that has agreed on fewer than others is behind them."""
    return 0 if _group is None else _group.spoken


def tell(name: str, value: Any) -> bool:
    """Tell the launcher a fact of this process; whether there is one."""
    if _heart is not None:
        _heart.tell(name, value)
    return _heart is not None


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Within, this process is by itself: it does what the others do not, and asks them nothing."""
    group, before = _group, _group is not None and _group.alone
    if group is not None:
        group.alone = True
    try:
        yield
    finally:
        if group is not None:
            group.alone = before


def agree(value: T) -> T:
    """Process 0's value, in every process; each must ask at the same place of the program.

    Args:
        value: plain JSON data.

    Example:
        >>> agree({"portion": 8})
        {'portion': 8}
    """
    beat()
    if count() == 1:
        return value
    group = _this()
    number = group.next_word()
    turn, place = divmod(number, _TURN)
    if place == 0:
        _forget(group, turn)
    key = f"{_FOLDER}/word/{turn}/{place}"
    if group.rank == 0:
        text = json.dumps(value, allow_nan=True)
        group.store.key_value_set(key, text)
    else:
        text = _asked(lambda: group.store.blocking_key_value_get(key, _PATIENCE))
    beat()
    found: T = json.loads(text)
    return found


def _forget(group: _Group, turn: int) -> None:
    """At the beginning of a turn, process 0 removes the values of the one before the last, once all have come past it."""
    if group.rank:
        group.store.key_value_set(f"{_FOLDER}/turn/{turn}/{group.rank}", "")
    elif turn > 1:
        for other in range(1, group.count):
            key = f"{_FOLDER}/turn/{turn - 1}/{other}"
            _asked(lambda key=key: group.store.blocking_key_value_get(key, _PATIENCE))  # type: ignore[misc]
        for done in (f"{_FOLDER}/word/{turn - 2}/", f"{_FOLDER}/turn/{turn - 2}/"):
            group.store.key_value_delete(done)


def same(what: str, value: Any) -> None:
    """Make sure that all processes have the same ``value`` of ``what``: a version, the data, the settings.

    Args:
        value: plain JSON data; of a dict the entry that differs is named.

    Raises:
        ConfigError: they have not; it says which process differs, and in what. Each process raises the same.
    """
    if count() == 1:
        return
    group = _this()
    digest = hashlib.sha256(what.encode()).hexdigest()[:16]
    number = group.next_word()
    key = f"{_FOLDER}/same/{number}-{digest}"
    group.store.key_value_set(f"{key}/{group.rank}", json.dumps(value, sort_keys=True, default=str))
    texts = [
        _asked(lambda number=number: group.store.blocking_key_value_get(f"{key}/{number}", _PATIENCE))  # type: ignore[misc]
        for number in range(group.count)
    ]
    for other, text in enumerate(texts):
        if text != texts[0]:
            name, own, first = _difference(json.loads(text), json.loads(texts[0]))
            subject = f"{what} ({name})" if name else what
            raise ConfigError(
                f"the processes of a training differ: {subject} is {shorten(own)} in process {other}, and {shorten(first)} in process 0",
                hint="each machine needs the same versions, the same data and the same command",
            )


def _difference(own: Any, first: Any) -> tuple[str, Any, Any]:
    """The name of the first entry that differs, and both values."""
    if isinstance(own, dict) and isinstance(first, dict):
        for name in sorted({*own, *first}):
            if own.get(name) != first.get(name):
                inner, a, b = _difference(own.get(name), first.get(name))
                return ".".join(filter(None, (name, inner))), a, b
    return "", own, first


def ask(number: int) -> None:
    """Tell process 0 that this process was asked to stop, by the signal ``number``."""
    if not is_first():
        with contextlib.suppress(Exception):  # the coordinator may have gone; then there is nobody to stop
            _this().store.key_value_set(f"{_FOLDER}/asked", str(number), allow_overwrite=True)


def asked_elsewhere() -> int | None:
    """In process 0: the signal by which another process was asked to stop, or None."""
    if count() == 1 or not is_first():
        return None
    try:
        return int(_this().store.key_value_try_get(f"{_FOLDER}/asked"))
    except Exception:  # no such key
        return None


def says(message: str) -> bool:
    """Whether this process is to show an error message: process 0 shows it, and another one only where it has one of its own."""
    if count() == 1:
        return True
    group = _this()
    try:
        if group.rank == 0:
            group.store.key_value_set(f"{_FOLDER}/said", message, allow_overwrite=True)
            end = time.monotonic() + _SAID / 1000
            for other in range(1, group.count):  # they cannot hear it once this process has gone
                left = max(1, int(1000 * (end - time.monotonic())))
                group.store.blocking_key_value_get(f"{_FOLDER}/heard/{other}", left)
            return True
        told: str = group.store.blocking_key_value_get(f"{_FOLDER}/said", _SAID)
        group.store.key_value_set(f"{_FOLDER}/heard/{group.rank}", "")
        return told != message
    except Exception:  # process 0 has said nothing, or has gone
        return True


def wait_for_first(name: str) -> None:
    """Wait until process 0 has come to the same place, however long that takes; it does not wait for the others."""
    if _group is None or _group.count == 1:
        return
    group, key = _group, f"{_FOLDER}/place/{name}"
    if group.rank == 0:
        group.store.key_value_set(key, "", allow_overwrite=True)
    else:
        _asked(lambda: group.store.blocking_key_value_get(key, _PATIENCE))


def _this() -> _Group:
    if _group is None:
        raise RuntimeError("this process is not one of several")
    return _group


def _asked(question: Callable[[], T]) -> T:
    """The answer to a question that waits; it is asked again as long as the coordinator is there."""
    while True:
        begun = time.monotonic()
        try:
            return question()
        except Exception as error:
            if "DEADLINE_EXCEEDED" not in str(error) or time.monotonic() - begun < 0.5 * _PATIENCE / 1000:
                raise lost(error) from error


def lost(error: Exception) -> LostError:
    """The error of a process whose question, or whose exchange of arrays, another process does not answer any more."""
    return LostError(
        f"process {rank()} has lost another process of the training: {first_line(error)}",
        hint="the last checkpoint is still there: danlu train --resume RUN goes on from it",
    )
