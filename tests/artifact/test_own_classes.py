"""Classes of the user in files: they may have the names of danlu's, and a file always gets the class that it was written with."""

import types
from typing import Any

import pytest

from danlu import nn
from danlu.blueprint import Blueprint, from_json, to_json
from danlu.engine.saved import _measure
from danlu.errors import ArtifactError, ConfigError


def module(name: str, *, called: str) -> Any:
    """A module of the user that defines a class called so."""
    made = types.ModuleType(name)
    exec(
        f"from danlu.blueprint import Blueprint\nclass {called}(Blueprint):\n    units: int = 1\n    of: str = {name!r}\n",
        made.__dict__,
    )
    return made


def test_a_class_of_the_user_may_have_a_name_of_danlu_whichever_comes_first() -> None:
    own = module("somebody", called="Dense").Dense(3)
    theirs = nn.Dense(3)
    assert to_json(own) == {"blueprint": "own:Dense", "units": 3, "of": "somebody"}
    assert (from_json(to_json(own)), from_json(to_json(theirs))) == (own, theirs)

    before = module("somebody", called="NotYet").NotYet(3)

    class NotYet(Blueprint):
        units: int = 2

        __module__ = "danlu.later"

    assert (from_json(to_json(before)), from_json(to_json(NotYet()))) == (before, NotYet())


def test_a_file_of_before_names_a_class_of_the_user_without_own() -> None:
    own = module("somebody", called="OfBefore").OfBefore
    assert from_json({"blueprint": "OfBefore", "units": 5}) == own(5)


def test_two_classes_of_the_user_by_one_name_are_not_confused() -> None:
    first = module("first_file", called="Twin").Twin(3)
    assert from_json(to_json(first)) == first
    module("second_file", called="Twin")
    with pytest.raises(ArtifactError, match="2 modules define a class of this name: first_file, second_file") as caught:
        from_json(to_json(first))
    assert "another name" in str(caught.value)


def test_a_model_whose_loss_is_not_defined_here_predicts_and_says_why_it_is_not_evaluated() -> None:
    measure = _measure({"blueprint": "own:Elsewhere"})
    with pytest.raises(
        ConfigError, match="predicts, and cannot be evaluated: the saved model uses 'own:Elsewhere'"
    ) as caught:
        measure([0.0], [0.0])
    assert "import the module that defines it" in str(caught.value)
