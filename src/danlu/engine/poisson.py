"""Batches for private training: each row is drawn with the same probability, by itself, at each step; and the secret of the draws.

What a ledger says of a step holds for *Poisson sampling*: a row takes part with probability ``q``, whatever the others do. So batches
differ in size, and there are ``1/q`` steps in an epoch, in which a row comes once on average. (A shuffled order in batches of one size,
which is often counted as if it were this, is another mechanism.) A batch has room for so many rows that it overflows with a probability
below 1e-30; rows of weight 0 fill it up, and the gradient's loop ends with the last row that was drawn. Nothing is dropped: a batch that
did overflow would stop the training.

The draws and the noise come from a secret of 256 bits of the operating system, and not from the run's seed, which is published: whoever
knows them can take the noise away. Draws are made by NumPy's Philox, noise by JAX's Threefry (both counters through a keyed mixing, keyed
with 128 and 64 bits of the secret; strong generators, but none that is certified for cryptography). A folder of checkpoints holds the
secret until the training has ended, so that a resumed one draws the same; then it is erased.

Reference: Abadi et al. (2016), section 2.2; Chua et al., "How private are DP-SGD implementations?" (2024), on shuffled batches.
"""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.callback import Callback
from danlu.engine.per_example import Carried, PerExample
from danlu.engine.training import CHECKPOINT
from danlu.errors import CheckpointError, ConfigError, TrainingError
from danlu.files import write_atomic

__all__ = ["SECRET", "Forgetting", "Poisson", "Secret", "drawn", "drawn_for_each", "room_for", "secret_beside"]

SECRET = "secret"
"""The file, beside the checkpoints, that holds the secret of a private training that has not ended."""

_OVERFLOW = 1e-30  # the probability that more rows are drawn than a batch has room for


@dataclasses.dataclass(frozen=True)
class Secret:
    """Where the random draws of a private training come from.

    Args:
        words: eight words of 32 bits.
    """

    words: tuple[int, ...] = dataclasses.field(repr=False)

    @classmethod
    def new(cls) -> Secret:
        """A secret from the operating system."""
        return cls(tuple(secrets.randbits(32) for _ in range(8)))

    @classmethod
    def at(cls, folder: Path | None) -> Secret:
        """The secret of a folder of checkpoints; a new one, which is kept there, where there is none.

        Raises:
            CheckpointError: it cannot be read or written.
        """
        if folder is None:
            return cls.new()
        path = folder / SECRET
        if not path.is_file():
            found = cls.new()
            with contextlib.suppress(OSError):  # writing says what is wrong with the folder
                folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, "".join(f"{word:08x}" for word in found.words).encode(), error=CheckpointError)
            with contextlib.suppress(OSError):
                path.chmod(0o600)
            return found
        try:
            text = path.read_text().strip()
            return cls(tuple(int(text[8 * i : 8 * i + 8], 16) for i in range(8)))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} is not the secret of a private training: {error}") from error

    def rng(self, epoch: int) -> np.random.Generator:
        """The generator of an epoch's draws."""
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([*self.words, 1, epoch])))

    def part(self, number: int) -> Secret:
        """The secret of one of several that draw by themselves, from 0."""
        return Secret(tuple(np.random.SeedSequence([*self.words, 3, number]).generate_state(8).tolist()))

    @property
    def key(self) -> jax.Array:
        """The key of the noise."""
        seed = np.random.SeedSequence([*self.words, 2]).generate_state(2)
        key: jax.Array = jax.random.wrap_key_data(jnp.asarray(seed, jnp.uint32))
        return key


def room_for(rows: int, rate: float, multiple: int = 1) -> int:
    """Rows that a batch has room for: more are drawn with a probability below 1e-30; a multiple of ``multiple``.

    >>> room_for(60_000, 256 / 60_000), room_for(100, 1.0), room_for(3, 0.5)
    (459, 100, 3)
    """
    from scipy.stats import binom

    # By halves: the library's own inverse gives up so far out, and says that there are rows.
    most = bisect.bisect_left(range(rows), True, key=lambda room: bool(binom.sf(room, rows, rate) < _OVERFLOW))
    return -(-most // multiple) * multiple


@dataclasses.dataclass(frozen=True)
class Poisson:
    """A sampler (see :mod:`danlu.engine.order`) that draws each of ``rows`` rows with probability ``rate`` at each of the ``1/rate`` steps.

    Args:
        rows: how many there are.
        rate: the probability.
        room: rows that a batch has room for.
        secret: what the draws come from.

    Example:
        >>> order = Poisson(1000, 0.02, 64, Secret(tuple(range(8))))(0, None)
        >>> order.shape, bool(abs((order >= 0).sum() - 1000) < 150)
        ((3200,), True)
    """

    rows: int
    rate: float
    room: int
    secret: Secret

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return max(1, round(1 / self.rate))

    def __call__(self, epoch: int, rng: Any) -> np.ndarray:
        own = self.secret.rng(epoch)
        # A number of rows by the binomial law, and then rows of that number, each set as likely: the same as a draw for each row.
        counts = own.binomial(self.rows, self.rate, self.steps)
        if counts.max() > self.room:
            raise TrainingError(
                f"{counts.max():,} rows were drawn for a batch with room for {self.room:,}, which does not happen by chance",
                hint="report this; to go on, start the training anew",
            )
        order = np.full((self.steps, self.room), -1, np.int32)
        for step, count in enumerate(counts):
            order[step, :count] = own.choice(self.rows, count, replace=False, shuffle=False)
        return order.reshape(-1)  # (steps · room,)


class Forgetting(Callback):
    """Erases the secret of a private training that has ended from its folder of checkpoints.

    Args:
        folder: of the checkpoints, or None.
        known: whether its secret was there when the training began.

    Raises:
        CheckpointError: a training that goes on without the secret that it began with.
    """

    def __init__(self, folder: Path | None, *, known: bool = False) -> None:
        self.folder, self.known = folder, known

    def on_train_begin(self) -> None:
        training: Any = self.training
        begun = np.any(np.asarray(training.state.step))  # of a population, one number for each member
        if self.known or not begun or training.epoch >= training.options.epochs or training._stop:
            return
        raise CheckpointError(
            f"the training in {self.folder} has not ended, and the file {SECRET!r} with the secret of its noise is gone; it cannot go on "
            "as it began",
            hint="put the file back, or start a new training, which spends a budget of its own",
        )

    def on_train_end(self, logs: Any) -> None:
        training: Any = self.training
        ended = training.stopped_by is None and (
            training.stopped_because is not None or training.epoch >= training.options.epochs
        )
        if not ended or (world := _forgotten(training.state.world)) is None:
            return
        training.state = dataclasses.replace(training.state, world=training._place(world))
        if self.folder is not None:
            training._save()
            with contextlib.suppress(FileNotFoundError):
                os.remove(self.folder / SECRET)


def _forgotten(world: Any) -> Any:
    """What a training carries, without the keys of its noise; None where it has none."""
    nothing: Callable[[Any], Any] = lambda key: jax.random.wrap_key_data(jnp.zeros_like(jax.random.key_data(key)))  # noqa: E731
    if isinstance(world, Carried):
        return dataclasses.replace(world, key=nothing(world.key))
    if not isinstance(world, dict):
        return None
    found = {name: world[name] for name in ("clients", "privacy") if "secret" in world.get(name, {})}
    return (
        {**world, **{name: {**own, "secret": nothing(own["secret"])} for name, own in found.items()}} if found else None
    )


def secret_beside(folder: Path | None, *, resume: bool) -> tuple[Secret, Forgetting]:
    """The secret of a training, kept beside its checkpoints, and what erases it at the end.

    Args:
        folder: of the checkpoints, or None.
        resume: whether the training goes on; else the secret of an earlier one in the folder is of no use, and must not come again.
    """
    if folder is not None and not resume and (folder / CHECKPOINT).is_file():
        (folder / SECRET).unlink(missing_ok=True)
    known = folder is not None and (folder / SECRET).is_file()
    return Secret.at(folder), Forgetting(folder, known=known)


def drawn(gradient: Any, sampler: Any, options: Any, secret: Secret, rows: int) -> tuple[Poisson, int]:
    """The sampler of a private gradient, and the rows that its batches have room for.

    Raises:
        ConfigError: another sampler, or a rate that the rows do not fit.
    """
    if not isinstance(gradient, PerExample):
        raise ConfigError(
            f"the gradient is a {type(gradient).__name__} around a private one; expected the private one itself",
            hint="gradient=PerExample.drawn(…)",
        )
    if sampler is not None:
        raise ConfigError(
            "a sampler was given beside a private gradient, which draws rows by itself; expected none",
            hint="the ledger counts Poisson sampling alone",
        )
    if gradient.expected is None or abs(gradient.expected - gradient.sampling * rows) > 0.5:
        raise ConfigError(
            f"the gradient expects {gradient.expected or 0:g} rows a batch, "
            f"drawn with probability {gradient.sampling:.4g}; there are {rows:,}",
            hint=f"PerExample.drawn(rows={rows}, batch={round(gradient.sampling * rows)}, …)",
        )
    room = room_for(rows, gradient.sampling, gradient.cuts * options.accumulate * options.devices)
    return Poisson(rows, gradient.sampling, room, secret), room


def drawn_for_each(
    gradient: Any, samplers: Any, options: Any, secrets: Sequence[Secret], parts: Sequence[np.ndarray]
) -> tuple[list[Callable[[int, Any], np.ndarray]], int]:
    """The samplers of several trainings with one private gradient, each of its own part of the rows, and the room of their batches.

    Raises:
        ConfigError: other samplers, or parts of which the gradient does not expect so many rows.
    """
    made = [drawn(gradient, samplers, options, secret, part.size) for secret, part in zip(secrets, parts, strict=True)]
    room = max(own for _, own in made)
    return [
        _within(dataclasses.replace(own, room=room), part) for (own, _), part in zip(made, parts, strict=True)
    ], room


def _within(sampler: Poisson, rows: np.ndarray) -> Callable[[int, Any], np.ndarray]:
    """A sampler of the places in ``rows`` as one of the rows; places that fill a batch up stay as they are."""

    def of_rows(epoch: int, rng: Any) -> np.ndarray:
        order = sampler(epoch, rng)
        return np.where(order >= 0, rows[order], -1).astype(np.int32)

    return of_rows
