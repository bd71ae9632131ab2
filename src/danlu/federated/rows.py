"""Differential privacy of each row within its client: every client trains with noise of its own, and counts what it spends.

A client draws each of its ``nᵢ`` rows with probability ``qᵢ = m/nᵢ`` for each of its steps, bounds each row's gradient and adds noise
(:class:`~danlu.engine.PerExample`), before anything leaves it. So neither the server nor the other clients need to be trusted, and what
they make of it spends nothing more. All clients have the same noise multiplier and the same ``m``; a client with few rows draws them more
often, and spends more: each has a ledger of its own.

Reference:
    Abadi et al. (2016), Deep learning with differential privacy; Liu et al. (2022), On privacy and personalization in cross-silo federated
    learning, section 3 (silo-specific item-level privacy).
"""

from __future__ import annotations

from collections.abc import Sequence

from danlu.engine.per_example import PerExample
from danlu.engine.poisson import room_for
from danlu.errors import ConfigError, DataError
from danlu.privacy import Ledger

__all__ = ["ledger_of_rows", "room_of_rows"]


def room_of_rows(gradient: PerExample, sizes: Sequence[int], names: Sequence[str] | None = None) -> int:
    """The rows that a batch of any client has room for.

    Args:
        sizes: the rows of each client.

    Raises:
        ConfigError: a gradient without noise, or without the rows that a batch has on average.
        DataError: a client with fewer rows than a batch has.
    """
    expected = gradient.expected
    if not gradient.private or expected is None:
        raise ConfigError(
            "the gradient of private rows has no noise, or does not know how many rows a batch has on average",
            hint="PerExample(clip=1.0, noise=1.1, expected=16)",
        )
    for number, size in enumerate(sizes):
        if size < max(expected, 2):
            name = str(number) if names is None else names[number]
            raise DataError(
                f"client {name} has {size} rows to learn from, and a private batch has {expected:g} on average; expected no more than a "
                "client has",
                hint=f"smaller batches (trainer.batch_size={max(1, size)}), or leave the client out",
            )
    return max(room_for(size, expected / size, gradient.cuts) for size in sizes)


def ledger_of_rows(gradient: PerExample, rows: int, steps: int) -> Ledger:
    """What a client of so many rows spends in so many of its steps.

    Example:
        >>> own = PerExample(clip=1.0, noise=1.1, expected=16.0)
        >>> few, many = (ledger_of_rows(own, rows, steps=100) for rows in (100, 1000))
        >>> few.epsilon(1e-5, by="rdp") > many.epsilon(1e-5, by="rdp")
        True
    """
    return gradient.replace(sampling=min(1.0, (gradient.expected or rows) / rows)).spent(steps, "training of a client")
