"""Which settings a search tries: what the kind of data proposes, without what the user fixed, with what the user named."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from danlu.errors import ConfigError, unknown_name
from danlu.pipeline.config import SECTIONS, TrainConfig, config_from, setting_names
from danlu.pipeline.domain import Domain
from danlu.pipeline.space import Choice, Place, Span
from danlu.pipeline.used import uses
from danlu.typed import field_types

__all__ = ["current", "is_searchable", "places", "with_values"]

_SECTIONS = ("model", "augment")
_TRAINER = ("trainer.batch_size", "trainer.learning_rate", "trainer.weight_decay")
_OWN = "agent.settings."


def is_searchable(name: str) -> bool:
    """Whether a setting can be searched for some kind of data: one value that changes the network or how it learns.

    >>> is_searchable("trainer.learning_rate"), is_searchable("trainer.epochs"), is_searchable("data.drop")
    (True, False, False)
    """
    if name.startswith(_OWN):
        return True
    section, _, own = name.partition(".")
    if name not in setting_names() or not (name in _TRAINER or section in _SECTIONS):
        return False
    cls: Any = SECTIONS[section]
    annotation = field_types(cls)[own]
    kinds = typing.get_args(annotation) or (annotation,)
    return all(kind in (int, float, str, bool, type(None)) for kind in kinds)


def places(config: TrainConfig, domain: Domain, plan: Any, asked: Mapping[str, Place]) -> dict[str, Place]:
    """Where to search.

    Args:
        asked: what the user wants searched.

    Raises:
        ConfigError: a setting that is both fixed and searched, that cannot be searched or cannot have these values; or nothing is left.
    """
    proposed = dict(domain.space(config, plan))
    if not proposed:
        raise ConfigError(
            f"this algorithm has no learning rate, which danlu tune searches of {domain.noun}",
            hint="danlu train with the settings that you want to compare",
        )
    fixed = [name for name in {**proposed, **asked} if is_fixed(config, name)]
    for name in asked:
        if name in fixed:
            raise ConfigError(
                f"{name} is {value_in(config, name)!r}, and it is to be searched in {asked[name]}; expected one of them"
            )
        allowed = uses(domain, name) or (name.startswith(_OWN) and uses(domain, "agent.settings"))
        if not (is_searchable(name) and allowed):
            can = [each for each in setting_names() if is_searchable(each) and uses(domain, each)]
            raise unknown_name(f"setting to search of {domain.noun}", name, {*can, *proposed})
    found = {name: place for name, place in proposed.items() if name not in fixed}
    for name, place in asked.items():
        found[name] = _alike(place, proposed.get(name))
        for end in found[name].ends:
            with_values(config, {name: end})  # which refuses what the setting cannot be
    if not found:
        raise ConfigError(
            f"every setting that danlu tune searches is fixed: {', '.join(fixed)}; expected one to be left",
            hint="danlu train takes fixed settings",
        )
    return found


def _alike(place: Place, proposed: Place | None) -> Place:
    """A user's span on the scale of the one that is proposed."""
    if isinstance(place, Span) and isinstance(proposed, Span) and proposed.log and place.low > 0:
        return dataclasses.replace(place, log=True, integer=proposed.integer)
    if isinstance(place, Span) and isinstance(proposed, Span) and not proposed.integer:
        return dataclasses.replace(place, integer=False)
    if isinstance(place, Choice) and isinstance(proposed, Span) and not proposed.integer:
        return Choice(tuple(float(each) if isinstance(each, int) else each for each in place.values))
    return place


def is_fixed(config: TrainConfig, name: str) -> bool:
    """Whether the user has said what the setting is."""
    if name.startswith(_OWN):
        return name.removeprefix(_OWN) in config.agent.settings
    return name in setting_names() and config.setting(name) != TrainConfig().setting(name)


def value_in(config: TrainConfig, name: str) -> Any:
    """The value of a setting, of an agent's own too."""
    return config.agent.settings.get(name.removeprefix(_OWN)) if name.startswith(_OWN) else config.setting(name)


def with_values(config: TrainConfig, values: Mapping[str, Any]) -> TrainConfig:
    """The config with these settings.

    Raises:
        ConfigError: a value that a setting cannot have.
    """
    body = config.as_dict()
    for name, value in values.items():
        *path, last = name.split(".")
        node = body
        for part in path:
            node[part] = dict(node[part])
            node = node[part]
        node[last] = value
    return config_from(body)


def current(config: TrainConfig, plan: Any, name: str) -> Any:
    """What a setting is without a search: as the recipe has it, or its default."""
    section, own = name.split(".")[0], name.rsplit(".", 1)[1]
    holder = {"model": getattr(plan, "model", None), "agent": getattr(plan, "agent", None)}.get(section, plan)
    holder = getattr(plan, "agent", holder)
    value = getattr(holder, own, None)
    return value_in(config, name) if value is None else value
