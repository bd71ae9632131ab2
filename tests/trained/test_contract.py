"""What holds for every trained model, whatever it learnt from."""

from __future__ import annotations

import functools
import json
from typing import Any

import jax
import numpy as np
import pytest
from kinds import GOLDEN, KINDS, asked, records

import danlu
from danlu.artifact import FORMAT_VERSION
from danlu.data.fields import FIELD_KINDS, fields_from, fields_json
from danlu.data.series import Windows
from danlu.errors import SchemaError
from danlu.trained import Trained

LAST = GOLDEN / f"version-{FORMAT_VERSION}"

every_kind = pytest.mark.parametrize("kind", KINDS)


@functools.cache
def model_of(kind: str) -> Any:
    return danlu.load(LAST / kind / "model")


def asked_records(kind: str) -> list[dict[str, Any]]:
    """Plain data, as it comes through JSON."""
    return json.loads(json.dumps(records(kind, LAST / kind)))


def encoded(model: Any, given: list[dict[str, Any]]) -> Any:
    """Records as the network takes them; windows of a series are gathered only when they are asked for."""
    inputs = model.encoder.transform(model.encoder.rows(given, print))
    return inputs.inputs() if isinstance(inputs, Windows) else inputs


@every_kind
def test_it_is_one_class_with_a_schema_that_goes_through_json(kind: str) -> None:
    model = model_of(kind)
    assert type(model) is Trained
    assert model.fields
    assert all(field.kind in FIELD_KINDS for field in model.fields)
    assert fields_from(json.loads(json.dumps(fields_json(model.fields)))) == model.fields
    assert model.kind == {"quantity": "table", "table-blend": "table", "table-card": "table", "pages": "bandit"}.get(
        kind, kind.removesuffix("-flow").removesuffix("-gan")
    )
    assert model.purpose in repr(model)


@every_kind
def test_a_record_is_answered_as_a_file_is(kind: str) -> None:
    model, answers = model_of(kind), None
    answers = model.respond(asked_records(kind))
    assert len(answers) == len(asked_records(kind))
    assert json.loads(json.dumps(answers)) == answers
    told = model.predict(asked(kind, LAST / kind), say=lambda line: None)
    values = {v for answer in answers for v in _leaves(answer)}
    of_file = {v for row in told.to_dicts() for v in _leaves(row)}
    shared = of_file & values
    assert len(shared) >= len(values) * 0.6, "most of what is said of a record is said of its row in a file"


def _leaves(tree: Any) -> list[Any]:
    return [round(v, 3) if isinstance(v, float) else str(v) for v in jax.tree.leaves(tree)]


@every_kind
def test_an_answer_does_not_depend_on_its_neighbours(kind: str) -> None:
    model, given = model_of(kind), asked_records(kind)
    together = model.respond(given)
    assert [model.respond([record])[0] for record in given] == together
    assert model.respond(given[::-1]) == together[::-1]


@every_kind
def test_a_missing_field_is_named(kind: str) -> None:
    model, record = model_of(kind), asked_records(kind)[0]
    needed = [field.name for field in model.fields if field.needed]
    if not needed:  # a record may lack any of them, and not all
        with pytest.raises(SchemaError, match="record 2 has none of"):
            model.respond([record, {}])
    for name in needed:
        with pytest.raises(SchemaError, match=f"record 2 lacks {name!r}"):
            model.respond([record, {key: value for key, value in record.items() if key != name}])
    with pytest.raises(SchemaError, match="there is no record"):
        model.respond([])


def applied(kind: str) -> tuple[Any, Any]:
    """The network of a model as a function of its variables, for one row; and these."""
    model = model_of(kind)
    shapes = model.in_shape
    rng = np.random.default_rng(0)
    inputs = encoded(model, asked_records(kind)[:1])
    if kind in _OTHER_INPUTS:
        inputs = jax.tree.map(lambda s: rng.integers(0, 4, (1, *s)), shapes, is_leaf=lambda s: isinstance(s, tuple))
        if isinstance(inputs, dict) and "source_mask" in inputs:
            inputs["source_mask"] = np.ones_like(inputs["source_mask"], bool)
    apply = lambda params, state: model.network.apply(params, state, inputs, train=False)[0]  # noqa: E731
    return apply, (model.params, model.state)


def close(one: Any, other: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), one, other)


@every_kind
def test_the_network_is_pure_jax(kind: str) -> None:
    model = model_of(kind)
    whole = jax.eval_shape(lambda: model.network.init(jax.random.key(0), model.in_shape)[:2])
    assert jax.tree.structure(whole[0]) == jax.tree.structure(model.params)
    apply, variables = applied(kind)
    twice = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), variables)
    both = jax.jit(jax.vmap(apply))(*twice)
    close(jax.jit(apply)(*variables), jax.tree.map(lambda leaf: leaf[1], both))


@pytest.mark.slow  # of each layer by itself it is seen in tests/nn
@every_kind
def test_the_network_says_the_same_uncompiled(kind: str) -> None:
    apply, variables = applied(kind)
    close(apply(*variables), jax.jit(apply)(*variables))


_OTHER_INPUTS = ("language", "translation")  # whose rows are walked in windows, or written token by token


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("language", "translation")])
def test_a_head_is_pure_jax_and_says_the_same_in_numpy(kind: str) -> None:
    model = model_of(kind)
    inputs = encoded(model, asked_records(kind)[:2])
    outputs = jax.tree.map(np.asarray, jax.jit(model.forward)(inputs))
    exact = model.head(jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), outputs))
    compiled = jax.jit(lambda head, outputs: head(outputs))(model.head, outputs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3), exact, compiled)
