"""The settings of learning from a log, and the recipe of its networks."""

from __future__ import annotations

from typing import Any

from danlu.blueprint import Blueprint, setting
from danlu.data import TableEncoder
from danlu.errors import ConfigError
from danlu.evaluate.logged import DEPENDS
from danlu.nn.combine import Parallel
from danlu.tasks import Recipe
from danlu.tasks.recipe import recipe

__all__ = ["EFFECTS", "LEARNERS", "LoggedBandit", "Uplift", "apart", "bandit_recipe"]

LEARNERS = ("robust", "ips", "direct")
EFFECTS = ("robust", "two", "transformed")


class LoggedBandit(Blueprint):
    """Which columns of a log are what, and how a policy is learnt from it; naming ``columns`` makes ``danlu train`` do so.

    Args:
        columns: ``action:reward[:propensity]``, the names of the columns; without propensities they are estimated from the contexts.
        learn: ``"robust"`` trains a policy by its doubly robust value, ``"ips"`` by that of inverse propensities alone; ``"direct"`` takes
            the action whose reward the model foretells as the highest.
        folds: in how many parts the training rows are divided, so that what is foretold of a row comes from a network that did not learn
            from it.
        slate: ``page:place``, the names of the columns, where a row is a place of a page: of several things that are shown together.
        depends: of pages: what the reward of a place depends on: ``"place"``, its own item; ``"above"``, the items above as well, with
            propensities given what stands above; ``"page"``, all items. See :class:`~danlu.evaluate.logged.Logged`.
        low, high: the ends of what a reward can be, for the interval that holds for any weights; None takes those of the log.
    """

    columns: str = ""
    learn: str = setting(default="robust", choices=LEARNERS)
    folds: int = setting(default=5, minimum=2, maximum=50, integer=True)
    slate: str = ""
    depends: str = setting(default="place", choices=DEPENDS)
    low: float | None = setting(default=None, optional=True)
    high: float | None = setting(default=None, optional=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depends != "place" and self.slate and self.columns.count(":") < 2:
            raise ConfigError(
                f"bandit.depends is {self.depends!r}, and no column holds propensities; only those of single places are estimated",
                hint="--bandit ITEM:REWARD:PROPENSITY, the probability of each item given those above it",
            )

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


class Uplift(Blueprint):
    """Which columns of a campaign are what, and how its effect is learnt; naming ``columns`` makes ``danlu train`` do so.

    Args:
        columns: ``treatment[=value]:outcome[=value]``, the names of the columns, and which of their values mean yes where the data does
            not tell.
        learn: ``"two"`` takes the difference of two networks, of the treated and of the others (the T-learner). Else one network has an
            output for each, and a second one learns the transformed outcome (``"transformed"``) or the doubly robust score of each
            person's effect (``"robust"``).
        folds: in how many parts the training rows are divided, so that what is foretold of a person comes from a network that did not
            learn from that person.
        assigned: how the treatment was given: ``"chance"``, the same for all; ``"chosen"``, by what the columns show, so that propensities
            are estimated; ``"auto"`` goes by whether the columns can tell who was treated.
        clip: how near to 0 and 1 an estimated propensity comes.
        cost: of treating one person, in the outcome's unit: only people with a higher uplift are to be treated.
        budget: the share of people who can be treated at most; None sets no limit.
    """

    columns: str = ""
    learn: str = setting(default="robust", choices=EFFECTS)
    folds: int = setting(default=5, minimum=2, maximum=50, integer=True)
    assigned: str = setting(default="auto", choices=("auto", "chance", "chosen"))
    clip: float = setting(default=0.05, above=0, below=0.5)
    cost: float = setting(default=0.0, minimum=0)
    budget: float | None = setting(default=None, above=0, maximum=1, optional=True)


def apart(plan: Recipe) -> Recipe:
    """The recipe with a network of its own for each of two actions, and for the logits of propensities where there are such outputs."""
    own: Any = plan.model
    sizes = (1, 1) if own.units == 2 else (1, 1, own.units - 2)
    return plan.replace(model=Parallel(tuple(own.replace(units=size) for size in sizes)))


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
        **{"loss": "logged_reward", **changes},
    )
