"""A private training: its settings, its budget, and the recipe of a network that learns with noise.

Noise changes which recipe is good. Each parameter gets as much of it, so the networks are smaller; more rows a step drown it, so batches
are larger; nothing is to be gained by regularisation or by looking at the worst rows. Which settings are right for private rows, paid
for, or refused is told in ``docs/how-to/train-in-private.md``.

Reference: Ponomareva et al., "How to DP-fy ML" (2023), section 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from danlu.blueprint import Blueprint, setting
from danlu.engine.per_example import AT_ONCE, CLIPPINGS, PerExample
from danlu.errors import ConfigError
from danlu.privacy import ACCOUNTANTS, Budget, Ledger, default_delta
from danlu.tasks.recipe import Recipe

__all__ = ["STATISTICS", "PrivateTraining", "private_from"]

STATISTICS = 0.3
"""The ε that statistics may spend where noise is given instead of a budget."""
_TOLD = 8.0  # times the noise multiplier of the gradients: that of the losses that are told
_MANY = 2**20  # parameters from which norms are found without the gradients of single rows
_MEMORY = 2**24  # numbers that the gradients of the rows that are taken at once may have


class PrivateTraining(Blueprint):
    """Training with differential privacy: what is published of the training tells next to nothing of any one training row.

    Args:
        epsilon: the largest ε that all of it may spend; None, and no ``noise``, trains without privacy.
        delta: its δ; None is ``rows^−1.1``.
        noise: the noise multiplier, instead of ``epsilon``; what it spends is then said.
        clip: the largest norm of a row's gradient; None is 1, of texts 0.1.
        clipping: ``"flat"``, ``"layers"`` or ``"adaptive"``; see :class:`~danlu.engine.PerExample`.
        sampling: the probability of a row to be in a batch; None is about ``4/√rows``. ``trainer.batch_size`` says the same in rows.
        accountant: how ε is counted, ``"pld"`` or ``"rdp"``.
        statistics: the share of ε that is spent on the columns' statistics, where there are any.
        public: a file (JSON or TOML) of what is known without the rows: ``{column: [least, most]}`` or ``{column: [category, …]}``.
    """

    epsilon: float | None = setting(default=None, above=0, maximum=100, optional=True)
    delta: float | None = setting(default=None, above=0, below=1, optional=True)
    noise: float | None = setting(default=None, above=0, optional=True)
    clip: float | None = setting(default=None, above=0, optional=True)
    clipping: str = setting(default="flat", choices=CLIPPINGS)
    sampling: float | None = setting(default=None, above=0, maximum=1, optional=True)
    accountant: str = setting(default="pld", choices=ACCOUNTANTS)
    statistics: float = setting(default=0.1, above=0, below=1)
    public: str | None = None

    @property
    def on(self) -> bool:
        """Whether the training is private."""
        return self.epsilon is not None or self.noise is not None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epsilon is not None and self.noise is not None:
            raise ConfigError(
                f"private.epsilon is {self.epsilon:g} and private.noise is {self.noise:g}, and each follows from the other; expected one",
                hint="--private epsilon=3, or --private noise=1.1",
            )

    def budget(self, rows: int) -> Budget:
        """The budget for ``rows`` training rows; where noise is given, what is left open is infinite in effect.

        Raises:
            ConfigError: a δ that promises nothing.
        """
        delta = default_delta(rows) if self.delta is None else self.delta
        found = Budget(epsilon=self.epsilon or 100.0, delta=delta, by=self.accountant)
        found.check_rows(rows)
        return found

    def for_statistics(self, rows: int, looks: int, failure: float) -> float:
        """The noise multiplier of ``looks`` looks at the columns."""
        whole = self.budget(rows)
        own = whole.replace(epsilon=STATISTICS if self.epsilon is None else self.statistics * self.epsilon)
        return own.noise(
            lambda noise: Ledger().with_steps("statistics", noise=noise, steps=looks, failure=failure / looks)
        )

    def batch(self, rows: int, asked: int | None) -> float:
        """Rows of a batch on average."""
        if self.sampling is not None:
            return self.sampling * rows
        return float(min(rows, asked or max(16, round(4 * math.sqrt(rows)))))

    def recipe(
        self,
        plan: Recipe,
        rows: int,
        before: Ledger,
        *,
        parameters: int,
        asked: Mapping[str, Any],
        texts: bool = False,
        steps: Callable[[float], int] | None = None,
    ) -> Recipe:
        """A recipe for ``rows`` private rows, with the noise that keeps to the budget.

        Args:
            plan: the recipe of the same network without privacy.
            before: what was spent already.
            parameters: of the network.
            asked: the user's own choices for the training.
            texts: whether it is of texts, whose linear network has small gradients.
            steps: how many there are with batches of so many rows; None goes through the rows once an epoch.

        Raises:
            ConfigError: a budget that no noise keeps to.
        """
        batch = self.batch(rows, asked.get("batch_size"))
        usual = {
            "epochs": 20,
            "patience": 10**9,
            "learning_rate": 0.1 if texts else 8e-3,
            "weight_decay": 0.0,
            "clip_norm": 1e9,
            "flat": 0.0,
        }
        plan = plan.replace(
            **{name: value for name, value in usual.items() if name not in asked},
            batch_size=max(1, round(batch / plan.devices)) * plan.devices,
        )
        count = max(1, round(rows / batch)) * plan.epochs if steps is None else steps(batch)
        at_once = max(1, min(AT_ONCE, _MEMORY // max(parameters, 1), round(batch)))
        own = PerExample.drawn(
            rows=rows,
            batch=batch,
            clip=self.clip or (0.1 if texts else 1.0),
            noise=self.noise or 1.0,
            clipping=self.clipping,
            at_once=at_once,
            passes=2 if parameters > _MANY and self.clipping != "layers" else 1,
            told=_TOLD * (self.noise or 1.0),
        )
        if self.epsilon is not None:
            budget = self.budget(rows)
            try:
                noise = budget.noise(lambda noise: before + own.replace(noise=noise, told=_TOLD * noise).spent(count))
            except ConfigError as error:
                raise ConfigError(
                    error.message,
                    hint=f"a larger epsilon, fewer epochs than {plan.epochs}, a smaller private.statistics or a private.public file",
                ) from error
            own = own.replace(noise=noise, told=_TOLD * noise)
        return plan.replace(private=own)


def private_from(text: str) -> list[str]:
    """The settings of ``--private epsilon=3,delta=1e-5``, as they are written.

    >>> private_from("epsilon=3,delta=1e-5")
    ['private.epsilon=3', 'private.delta=1e-5']
    """
    found: list[str] = []
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise ConfigError(
                f"--private is {text!r}; expected names with values, such as epsilon=3,delta=1e-5",
                hint=f"--private epsilon={text.strip()}" if text.strip().replace(".", "", 1).isdigit() else None,
            )
        if any(other.startswith(f"private.{name.strip()}=") for other in found):
            raise ConfigError(f"--private is {text!r}, which gives {name.strip()} twice; expected each name once")
        found.append(f"private.{name.strip()}={value.strip()}")
    return found
