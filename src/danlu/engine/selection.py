"""Some members of a trained population, and populations put side by side: how a search drops the trials that have lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.fitted import Fitted
from danlu.errors import ConfigError

__all__ = ["joined", "members_of"]


def members_of(fitted: Fitted, members: Sequence[int]) -> Fitted:
    """The members with these numbers, in this order, as a population of their own that training can go on with.

    The rows of the state are taken by index, so a member goes on as it would have among the others. The history's
    values of each member stay those of all.

    Raises:
        ConfigError: no member, or one that there is not.

    Example:
        >>> from danlu import nn
        >>> from danlu.engine.members import fit_members
        >>> x = np.linspace(-1, 1, 16, dtype=np.float32)[:, None]
        >>> three = fit_members(nn.Dense(1), (x, x[:, 0]), loss="mse", seeds=[0, 1, 2], epochs=2, display="none")
        >>> two = members_of(three, [2, 0])
        >>> two.params["kernel"].shape
        (2, 1, 1)
        >>> fit_members(nn.Dense(1), (x, x[:, 0]), loss="mse", seeds=[2, 0], epochs=3, after=two, display="none").history[0]["epoch"]
        2
    """
    population: Any = fitted.program
    taken = np.asarray(list(members), int)
    if not taken.size or taken.min() < 0 or taken.max() >= population.members:
        raise ConfigError(f"members_of received {list(members)}; expected numbers from 0 to {population.members - 1}")
    program = dataclasses.replace(population, members=int(taken.size))
    return _mapped(fitted, program, lambda leaf: leaf[taken])


def joined(parts: Sequence[Fitted]) -> Fitted:
    """Populations of one program, trained for as many epochs, as one: their members side by side.

    Raises:
        ConfigError: no population, or they have not been trained for as many epochs.

    Example:
        >>> from danlu import nn
        >>> from danlu.engine.members import fit_members
        >>> x = np.linspace(-1, 1, 16, dtype=np.float32)[:, None]
        >>> both = fit_members(nn.Dense(1), (x, x[:, 0]), loss="mse", seeds=[0, 1], epochs=1, display="none")
        >>> joined([members_of(both, [1]), members_of(both, [0])]).params["kernel"].shape
        (2, 1, 1)
    """
    epochs = {part.history[-1]["epoch"] if part.history else -1 for part in parts}
    if len(epochs) != 1:
        raise ConfigError(f"joined() received populations after {sorted(epochs)} epochs; expected one number for all")
    programs: list[Any] = [part.program for part in parts]
    program = dataclasses.replace(programs[0], members=sum(each.members for each in programs))
    return _mapped(parts[0], program, lambda *leaves: jnp.concatenate(leaves), *parts[1:])


def _mapped(first: Fitted, program: Any, change: Callable[..., Any], *others: Fitted) -> Fitted:
    """The record of ``program`` with every array of members made by ``change``."""
    each = [(part.params, part.state, part.train_state, part.best) for part in (first, *others)]
    params, state, train_state, best = jax.jit(lambda *each: jax.tree.map(change, *each))(*each)  # in one program
    return dataclasses.replace(
        first,
        program=program,
        params=params,
        state=state,
        train_state=train_state,
        best=best,
        best_epoch=None if best is None else int(np.max(best.epoch)),
    )
