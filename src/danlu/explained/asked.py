"""What a user asks an explanation for."""

from __future__ import annotations

import dataclasses
from typing import Any

import polars as pl

from danlu.errors import ConfigError, unknown_name

__all__ = ["METHODS", "Asked"]

METHODS = ("auto", "shapley", "gradients", "smoothgrad")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """The choices of one explanation.

    Attributes:
        method: one of :data:`METHODS`.
        of: the class to explain; None is the answered one.
        scale: ``"auto"``, ``"probability"`` or ``"log-odds"``.
        exact: see :func:`~danlu.explain.shapley_values`.
        keep: columns that a counterfactual may not change.
        to: what a counterfactual is to reach: a class, or of a quantity ``">=200"`` or ``"<=200"``; None is any other class.
        changes: columns that a counterfactual may change at most; 0 looks for none.
        influence: training rows that are shown as those that moved the answer most; 0 looks for none.
        alike: whether the training rows that are most alike are shown.
        background: rows to compare with and to look for alike ones among, where there are some.
        truth: the true answers of the background rows, as they were read; None where they are not known.
        learnt: whether these are rows that were learnt from.
        names: of the rows, as they are called.
        seed: decides what is drawn.
    """

    method: str = "auto"
    of: str | None = None
    scale: str = "auto"
    exact: bool | None = None
    keep: tuple[str, ...] = ()
    to: str | None = None
    changes: int = 3
    influence: int = 0
    alike: bool = True
    background: Any = None
    truth: Any = None
    learnt: bool = True
    names: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown_name("method of explanation", self.method, METHODS)
        if self.changes < 0 or (not self.changes and (self.keep or self.to is not None)):
            raise ConfigError(
                f"changes is {self.changes}, with keep={self.keep} and to={self.to!r}; expected 1 or more, or 0 and neither of them"
            )

        if self.influence < 0:
            raise ConfigError(f"influence is {self.influence}; expected a number of rows, or 0 for none")

    def check(self, method: str, *, uses: tuple[str, ...] = (), otherwise: str = "") -> None:
        """Refuse what this way of explaining does not use.

        Args:
            method: that is not possible here, ``"shapley"`` or none.
            uses: which of ``exact``, ``keep``, ``to`` and ``background`` it uses.
            otherwise: what to do.

        Raises:
            ConfigError: see above.
        """
        given = {
            "exact": self.exact is not None,
            "keep": bool(self.keep),
            "to": self.to is not None,
            "influence": self.influence > 0,
            "background": not self.learnt,
        }
        unused = [name for name, is_given in given.items() if is_given and name not in uses]
        if method and self.method == method:
            raise ConfigError(f"method={method} is for the columns of tables", hint=otherwise)
        if unused:
            raise ConfigError(f"{', '.join(unused)} would not be used here: {otherwise}", hint="leave it out")

    @property
    def compared_with(self) -> str:
        """What the background rows are called."""
        return "training rows" if self.learnt else "background rows"

    def compared(self, most: int) -> Any:
        """The background rows that answers are compared with, drawn evenly."""
        rows: Any = self.background
        if not isinstance(rows, pl.DataFrame) or rows.height <= most:
            return rows
        return rows.gather_every(rows.height // most).head(most)
