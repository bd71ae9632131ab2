"""Optimizers by name, for configuration files and the command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from danlu.names import Names
from danlu.optim.adagrad import adagrad
from danlu.optim.adam import adam, adamw, yogi
from danlu.optim.base import Optimizer
from danlu.optim.momentum import momentum, nesterov
from danlu.optim.rmsprop import rmsprop
from danlu.optim.sgd import sgd

__all__ = ["OPTIMIZERS", "get_optimizer"]

OPTIMIZERS: Names[Callable[..., Optimizer]] = Names(
    "optimizer",
    {
        "adagrad": adagrad,
        "adam": adam,
        "adamw": adamw,
        "gradient_descent": sgd,
        "momentum": momentum,
        "nesterov": nesterov,
        "rmsprop": rmsprop,
        "sgd": sgd,
        "yogi": yogi,
    },
    same={"gd": "gradient_descent", "nag": "nesterov", "sgd_momentum": "momentum"},
    hint="any optimizer of optax works too: optimizer=optax.nadam(1e-3)",
)


def get_optimizer(name: str, **settings: Any) -> Optimizer:
    """The optimizer of that name with these settings.

    Args:
        name: a key of ``OPTIMIZERS``.
        **settings: the keyword arguments of its function.

    Raises:
        ConfigError: unknown name or setting (the nearest is offered), or a value out of range.

    Example:
        >>> get_optimizer("adam", learning_rate=3e-4).update is adam().update
        True
        >>> get_optimizer("adm")
        Traceback (most recent call last):
        danlu.errors.ConfigError: unknown optimizer 'adm'; expected one of: adagrad, adam, adamw, ...
        Hint: did you mean 'adam'?
    """
    factory = OPTIMIZERS.find(name)
    known = inspect.signature(factory).parameters
    for key in settings:
        Names(f"setting of the optimizer {name!r}", known, answers={"lr": "did you mean 'learning_rate'?"}).own(key)
    return factory(**settings)
