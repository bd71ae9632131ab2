"""Blueprints: the frozen, hashable, JSON-able descriptions that everything in danlu is built from.

A layer, a loss and an initializer are all *blueprints*: a frozen dataclass of plain values (numbers, strings,
tuples, other blueprints) that holds no arrays. Because a blueprint is data, it can be compared, hashed (one
compiled program per blueprint), printed, and written to JSON without running any code on the way back in.

A field accepts what its annotation says (:mod:`danlu.typed`) in the range that is data beside it (:func:`setting`); both
are checked by one validator with one form of message.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import numbers
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeVar, dataclass_transform

from danlu.errors import ArtifactError, ConfigError, shorten, unknown_name
from danlu.names import Names
from danlu.typed import MismatchError, described, field_types, of_type

__all__ = ["Blueprint", "from_json", "setting", "to_json"]

_REGISTRY: dict[str, dict[str, type[Blueprint]]] = {}  # the name in files: the module: the class
_TYPE_KEY = "blueprint"
_OWN = (
    "own:"  # before the name of a class that danlu did not define: a class that danlu gets later cannot take its place
)
B = TypeVar("B", bound="Blueprint")


def setting(
    default: Any = dataclasses.MISSING,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Iterable[str] | None = None,
    pattern: tuple[str, str] | None = None,
    integer: bool = False,
    optional: bool = False,
) -> Any:
    """A dataclass field together with the values that it accepts.

    Args:
        default: the default value; none makes the field required.
        minimum: smallest accepted number (inclusive); ``above`` is the exclusive form.
        maximum: largest accepted number (inclusive); ``below`` is the exclusive form.
        choices: the accepted names, for a text field; :class:`~danlu.names.Names` are told from other libraries' names.
        pattern: for a text field, a regular expression that all of it fits, and what that is in words.
        integer: whether a number must be whole.
        optional: whether None is accepted as well.
    """
    rules = {
        "minimum": minimum,
        "maximum": maximum,
        "above": above,
        "below": below,
        "choices": choices if choices is None or isinstance(choices, Names) else tuple(choices),
        "pattern": pattern,
        "integer": integer,
        "optional": optional,
    }
    return dataclasses.field(default=default, metadata={"rules": rules})


def _expected(rules: Mapping[str, Any]) -> str:
    if rules["choices"] is not None:
        return "one of: " + ", ".join(rules["choices"])
    if rules["pattern"] is not None:
        return rules["pattern"][1] + (" or None" if rules["optional"] else "")
    bounds = [
        f"{sign} {rules[name]:{',' if isinstance(rules[name], int) else 'g'}}"
        for name, sign in (("minimum", ">="), ("above", ">"), ("maximum", "<="), ("below", "<"))
        if rules[name] is not None
    ]
    kind = "a whole number" if rules["integer"] else "a number"
    text = " ".join([kind, " and ".join(bounds)]).strip()
    return text + (" or None" if rules["optional"] else "")


def _refused(owner: str, name: str, value: Any, expected: str) -> ConfigError:
    hint = None
    classes = [each for each in (value if isinstance(value, list | tuple) else [value]) if isinstance(each, type)]
    if classes:
        hint = f"call the class: {classes[0].__name__}(...)"
    elif expected.startswith("a list"):
        hint = f"such as [{json.dumps(value)}]" if isinstance(value, str | int | float) else None
    elif isinstance(value, str) and "number" in expected and value.strip("-+.0123456789eE") == "" != value.strip():
        hint = f"write {value}, without quotes"
    return ConfigError(f"{owner}.{name} is {shorten(value)}; expected {expected}", hint=hint)


def validate(owner: str, name: str, value: Any, rules: Mapping[str, Any]) -> None:
    """Raise ConfigError unless ``value`` fits ``rules`` (see :func:`setting`)."""
    if value is None and rules["optional"]:
        return
    if rules["choices"] is not None:
        if not isinstance(value, str):
            raise _refused(owner, name, value, _expected(rules))
        if isinstance(rules["choices"], Names):
            rules["choices"].own(value, f"{owner}.{name}")
        elif value not in rules["choices"]:
            raise unknown_name(f"{owner}.{name}", value, rules["choices"])
        return
    if rules["pattern"] is not None:
        if not isinstance(value, str) or not re.fullmatch(rules["pattern"][0], value):
            raise _refused(owner, name, value, _expected(rules))
        return
    ok = isinstance(value, numbers.Real) and not isinstance(value, bool)
    ok = ok and (not rules["integer"] or isinstance(value, numbers.Integral))
    ok = ok and abs(value) < math.inf
    ok = ok and (rules["minimum"] is None or value >= rules["minimum"])
    ok = ok and (rules["maximum"] is None or value <= rules["maximum"])
    ok = ok and (rules["above"] is None or value > rules["above"])
    ok = ok and (rules["below"] is None or value < rules["below"])
    if not ok:
        raise _refused(owner, name, value, _expected(rules))


def checked(owner: str, name: str, value: Any, annotation: Any, rules: Mapping[str, Any] | None = None) -> Any:
    """``value`` as the field ``name`` of ``owner`` holds it: of the annotated type, and within ``rules``.

    Raises:
        ConfigError: it is of another type, or out of range.
    """
    try:
        value = of_type(value, annotation)
    except MismatchError:
        expected = described(annotation) if rules is None else _expected(rules)
        raise _refused(owner, name, value, expected) from None
    if rules is None:
        return value
    validate(owner, name, value, rules)
    return rules["choices"].own(value) if isinstance(rules["choices"], Names) and value is not None else value


def _by_new_names(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def named(self: Any, *args: Any, **kwargs: Any) -> None:
        type(self).check_renamed(type(self).__name__, kwargs)
        init(self, *args, **kwargs)

    return named


@dataclass_transform(frozen_default=True, field_specifiers=(setting, dataclasses.field))
class Blueprint:
    """A frozen dataclass that is checked on construction and can be written to JSON.

    A subclass becomes a frozen dataclass by itself and is known by its class name from then on. A class of your own is written
    as ``own:Name``: it may have a name that danlu uses, now or in a later version.

    >>> class Scale(Blueprint):
    ...     factor: float = setting(default=1.0, above=0)
    >>> to_json(Scale(2.0))
    {'blueprint': 'Scale', 'factor': 2.0}
    >>> from_json({'blueprint': 'Scale', 'factor': 3})
    Scale(factor=3)

    What was renamed is loaded by its old name, and who writes the old name is told the new one: ``_renamed`` has the fields,
    ``_former_names`` the class's own.

    >>> class Decay(Blueprint):
    ...     _renamed = {"speed": "rate"}
    ...     rate: float = setting(default=1.0, above=0)
    >>> from_json({"blueprint": "Decay", "speed": 0.5})
    Decay(rate=0.5)
    >>> Decay(speed=0.5)
    Traceback (most recent call last):
    danlu.errors.ConfigError: Decay.speed is called rate now
    Hint: write rate=0.5
    """

    _renamed: ClassVar[Mapping[str, str]] = {}
    _former_names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        bases = reversed(cls.__mro__)
        cls._renamed = {old: new for base in bases for old, new in vars(base).get("_renamed", {}).items()}
        dataclasses.dataclass(frozen=True)(cls)
        if cls._renamed and "__init__" in vars(cls):
            cls.__init__ = _by_new_names(cls.__init__)  # type: ignore[method-assign]
        for name in (cls.__name__, *vars(cls).get("_former_names", ())):
            _REGISTRY.setdefault(_written(cls, name), {})[cls.__module__] = cls

    def __post_init__(self) -> None:
        cls: Any = type(self)
        owner, annotations = cls.__name__, field_types(cls)
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            given, rules = getattr(self, field.name), field.metadata.get("rules")
            value = checked(owner, field.name, given, annotations.get(field.name, Any), rules)
            if value is not given:
                object.__setattr__(self, field.name, value)

    @classmethod
    def check_renamed(cls, owner: str, given: Mapping[str, Any], *, prefix: str = "") -> None:
        """Refuse a name of an older version.

        Args:
            owner: what the user calls this.
            given: values by name.
            prefix: what the user writes before the name of a field.

        Raises:
            ConfigError: with the new name.
        """
        for name, value in given.items():
            if name in cls._renamed:
                new = cls._renamed[name]
                raise ConfigError(f"{owner}.{name} is called {new} now", hint=f"write {prefix}{new}={shorten(value)}")

    @classmethod
    def renewed(cls, body: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that an older version wrote, by the names that they have now."""
        return {cls._renamed.get(name, name): value for name, value in body.items()}

    def replace(self: B, **changes: Any) -> B:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


def _written(cls: type[Blueprint], name: str) -> str:
    """``name`` of a class, as files have it."""
    return name if cls.__module__.partition(".")[0] == "danlu" else _OWN + name


def to_json(value: Any) -> Any:
    """``value`` as plain JSON data: blueprints become dicts that carry their class name."""
    if isinstance(value, Blueprint):
        body = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}  # type: ignore[arg-type]
        return {_TYPE_KEY: _written(type(value), type(value).__name__), **body}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    what = "a function" if isinstance(value, Callable) else f"a {type(value).__name__}"  # type: ignore[arg-type]
    raise ConfigError(
        f"a blueprint holds {what} ({value!r}), which cannot be written to JSON",
        hint="use a name danlu knows (such as activation='relu') or a Blueprint subclass of your own",
    )


def _class_named(name: Any) -> type[Blueprint]:
    """The class that a file calls so; older files have a class of the user by its bare name."""
    found = (_REGISTRY.get(name) or _REGISTRY.get(f"{_OWN}{name}")) if isinstance(name, str) else None
    if not found:
        raise ArtifactError(
            f"the saved model uses {name!r}, which this danlu does not know",
            hint="import the module that defines it first, or upgrade danlu",
        )
    if len(found) > 1:
        bare = name.removeprefix(_OWN)
        raise ArtifactError(
            f"the saved model uses {bare}, and {len(found)} modules define a class of this name: {', '.join(sorted(found))}",
            hint="give one of them another name; a saved model finds its classes by name",
        )
    return next(iter(found.values()))


def from_json(data: Any) -> Any:
    """The inverse of :func:`to_json`. Only registered blueprint classes are ever built; no code is run.

    Raises:
        ArtifactError: an unknown class, two classes of the user by one name, an unknown or missing field, or a value that
            the class refuses.
    """
    if isinstance(data, list):
        return tuple(from_json(item) for item in data)
    if not isinstance(data, dict):
        return data
    if _TYPE_KEY not in data:
        return {key: from_json(item) for key, item in data.items()}
    name = data[_TYPE_KEY]
    cls = _class_named(name)
    fields = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    body = cls.renewed({key: from_json(item) for key, item in data.items() if key != _TYPE_KEY})
    extra = sorted(set(body) - fields)
    if extra:
        raise ArtifactError(
            f"the saved {name} has the fields {extra}, which this danlu does not know",
            hint="it was probably written by a newer danlu; upgrade",
        )
    try:
        return cls(**body)
    except (TypeError, ConfigError) as error:
        raise ArtifactError(f"the saved {name} is not valid: {error}") from error
