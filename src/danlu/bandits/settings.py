"""The settings of learning from a log, and the recipe of its networks."""

from __future__ import annotations

from typing import Any

from danlu.blueprint import Blueprint, setting
from danlu.data import TableEncoder
from danlu.errors import ConfigError
from danlu.tasks import Recipe
from danlu.tasks.recipe import recipe

__all__ = ["LEARNERS", "LoggedBandit", "bandit_recipe"]

LEARNERS = ("robust", "ips", "direct")


class LoggedBandit(Blueprint):
    """Which columns of a log are what, and how a policy is learnt from it; naming ``columns`` makes ``danlu train`` do so.

    Args:
        columns: ``action:reward[:propensity]``, the names of the columns; without propensities they are estimated from the contexts.
        learn: ``"robust"`` trains a policy by its doubly robust value, ``"ips"`` by that of inverse propensities alone; ``"direct"`` takes
            the action whose reward the model foretells as the highest.
        folds: in how many parts the training rows are divided, so that what is foretold of a row comes from a network that did not learn
            from it.
        low, high: the ends of what a reward can be, for the interval that holds for any weights; None takes those of the log.
    """

    columns: str = ""
    learn: str = setting(default="robust", choices=LEARNERS)
    folds: int = setting(default=5, minimum=2, maximum=50, integer=True)
    low: float | None = setting(default=None, optional=True)
    high: float | None = setting(default=None, optional=True)

    def ends(self, low: float, high: float) -> tuple[float, float]:
        """The ends of rewards, which in the log are from ``low`` to ``high``.

        Raises:
            ConfigError: the log has rewards beyond the given ends.
        """
        own = (low if self.low is None else self.low, high if self.high is None else self.high)
        if own[0] > low or own[1] < high:
            raise ConfigError(
                f"bandit.low and bandit.high are {own[0]:g} and {own[1]:g}, and the log has rewards from {low:g} to {high:g}",
                hint="they are the least and the largest reward that there can be",
            )
        return own


def bandit_recipe(encoder: TableEncoder, rows: int, outputs: int, **changes: Any) -> Recipe:
    """The recipe of a network with so many outputs for encoded contexts: that of tables.

    Args:
        rows: that it learns from.
        **changes: fields of the :class:`~danlu.tasks.Recipe`, or of its network (``members``, ``width``, ``depth``, ``dropout``).
    """
    shapes = encoder.in_shape
    network: dict[str, Any] = {
        name: changes.pop(name) for name in ("members", "width", "depth", "dropout") if name in changes
    }
    return recipe(
        "multiclass",
        rows,
        numeric=shapes["numeric"][0] if "numeric" in shapes else 0,
        vocabularies=encoder.cardinalities,
        text=shapes["text"][0] if "text" in shapes else 0,
        classes=outputs,
        network=network,
        **changes,
    )
