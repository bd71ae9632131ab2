"""The OpenAPI document of a service, made from the schemas of its models."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from typing import Any

from danlu import __version__
from danlu.data.fields import Field
from danlu.serve.beyond import LEVEL, beyond
from danlu.serve.bodies import taken
from danlu.serve.examples import example_of, example_record
from danlu.serve.service import Service
from danlu.serve.versions import Served

__all__ = ["field_schema", "openapi"]

_BLANK = {"type": "string", "pattern": r"^\s*$", "description": "empty: a missing value"}
_NULL = {"type": "null"}
_ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "hint": {"type": "string"}},
    "required": ["error"],
}
_STATUS = {
    400: "The body is not what its type says.",
    401: "No token, or a wrong one.",
    404: "There is no such model or version.",
    409: "The new version cannot be loaded; the one before goes on.",
    413: "Too many bytes or rows.",
    415: "A content type that this model does not take.",
    422: "A record that does not fit the data that the model was trained on.",
    503: "Too many rows wait, or the service is ending; Retry-After says when to ask again.",
    504: "No answer in time.",
}


def field_schema(field: Field, *, table: bool = True) -> dict[str, Any]:
    """What a field takes, in JSON Schema: its kind, and in words its range, unit and an example.

    Args:
        table: whether it is a column of a table, in which anything may be missing.

    >>> field_schema(Field("age", "number", low=17.0, high=90.0, unit="years"))["description"]
    'a number in years, 17 … 90 in training; null where it is missing'
    """
    words, schema = _of(field) if table or field.kind != "text" else ("a text", {"type": "string", "pattern": r"\S"})
    if not field.needed and field.kind in ("text", "image", "sound") and "missing" not in words:
        words, schema = f"{words}; null where it is missing", {"anyOf": [schema, _NULL]}
    return {**schema, "description": words, "examples": [example_of(field)]}


def _of(field: Field) -> tuple[str, dict[str, Any]]:
    if field.kind == "number":
        ends = "" if field.low is None or field.high is None else f", {field.low:g} … {field.high:g} in training"
        unit = f" in {field.unit}" if field.unit else ""
        return f"a number{unit}{ends}; null where it is missing", {"type": ["number", "null"]}
    if field.kind == "boolean":
        words = ["true", "false", "yes", "no", "y", "n", "t", "f", "1", "0", "1.0", "0.0", 1, 0]
        return "true or false; null where it is missing", {
            "anyOf": [{"type": "boolean"}, {"enum": words}, _NULL, _BLANK]
        }
    if field.kind == "category":
        if not field.categories or field.is_open:
            return "a text; null where it is missing", {"type": ["string", "number", "boolean", "null"]}
        known = {"enum": [*field.categories, *_numbers(field.categories)]}
        return "one of these; null where it is missing", {"anyOf": [known, _NULL, _BLANK]}
    if field.kind == "date":
        return "a date as a text; null where it is missing", {
            "anyOf": [{"type": "string", "format": "date"}, _NULL, _BLANK]
        }
    if field.kind == "text":
        return "a text; null where it is missing", {"type": ["string", "null"]}
    if field.kind == "array":
        schema: dict[str, Any] = {"type": "number"}
        for size in reversed(field.shape):
            schema = {
                "type": "array",
                "items": schema,
                **({} if size is None else {"minItems": size, "maxItems": size}),
            }
        return f"numbers of the shape {field.shape}", schema
    if field.kind == "column":
        return "a list of values, one a step", {
            "type": "array",
            "items": {"type": ["number", "string", "null"]},
            "minItems": 1,
        }
    if field.kind == "image":
        pixels = {
            "type": "array",
            "items": {"type": "array", "items": {"anyOf": [_PIXEL, {"type": "array", "items": _PIXEL}]}},
        }
        file = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*"}
        return "an image file in base64, or whole numbers 0 to 255 as (height, width[, channels])", {
            "anyOf": [file, pixels]
        }
    return "a recording (WAV, …) in base64", {
        "type": "string",
        "contentEncoding": "base64",
        "contentMediaType": "audio/*",
    }


def _numbers(categories: Sequence[str]) -> list[Any]:
    """The numbers and truth values that name categories as well as their texts do."""
    found: list[Any] = []
    for each in categories:
        if each.lower() in ("true", "false"):
            found.append(each.lower() == "true")
        with contextlib.suppress(ValueError):
            number = float(each)
            if math.isfinite(number):
                found.append(int(number) if number.is_integer() else number)
    return list(dict.fromkeys(found))


_PIXEL = {"type": "integer", "minimum": 0, "maximum": 255}


def openapi(service: Service) -> dict[str, Any]:
    """The document, of OpenAPI 3.1."""
    schemas: dict[str, Any] = {"Error": _ERROR, "Tensor": _TENSOR, "Inference": _INFERENCE, "Inferred": _INFERRED}
    paths: dict[str, Any] = {}
    for name, served in service.models.items():
        schemas |= {
            f"{name}.Record": _record(served.trained.fields, served.trained.kind == "table"),
            f"{name}.Answers": _answers(served),
        }
        body = _body(name, served, service.options.max_rows)
        purpose = served.trained.purpose
        paths[f"/models/{name}/predict"] = {"post": _predict(name, f"Answers of {name}: {purpose}", body)}
        if len(service.models) == 1:
            paths = {"/predict": {"post": _predict(name, f"Answers of the only model: {purpose}", body)}} | paths
        paths[f"/models/{name}"] = _get(f"What {name} is", {"type": "object"}, 404)
        paths[f"/models/{name}/reload"] = {
            "post": _operation(f"Take a new version of {name}, if there is one", {"type": "object"}, 404, 409)
        }
        paths |= {**beyond(name, served, _operation), **_protocol(name)}
    paths |= {
        "/models": _get("The models", {"type": "object"}),
        "/health": _get("Whether the service lives", {"type": "object"}),
        "/ready": _get("Whether it can answer", {"type": "object"}, 503),
        "/metrics": {
            "get": {
                "summary": "Counters, for Prometheus",
                "responses": {"200": {"description": "text", "content": {"text/plain": {}}}},
            }
        },
        "/v2/health/live": _get("Open Inference Protocol: lives", {"type": "object"}),
        "/v2/health/ready": _get("Open Inference Protocol: ready", {"type": "object"}, 503),
        "/v2": _get("Open Inference Protocol: this server", {"type": "object"}),
    }
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "danlu serve", "version": __version__},
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if service.options.token is not None:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        for path in paths.values():
            for operation in path.values():
                operation["responses"] |= _failures(401)
    return document


def _record(fields: Sequence[Field], table: bool) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {field.name: field_schema(field, table=table) for field in fields},
        "required": [field.name for field in fields if field.needed],
    }


def _body(name: str, served: Served, most: int) -> dict[str, Any]:
    fields, record = served.trained.fields, {"$ref": f"#/components/schemas/{name}.Record"}
    example = example_record(fields)
    several = {"type": "array", "items": record, "minItems": 1, "description": f"{most:,} records at most"}
    wrapped = {
        "type": "object",
        "properties": {"records": several},
        "required": ["records"],
        "additionalProperties": False,
    }
    content: dict[str, Any] = {
        "application/json": {
            "schema": {"anyOf": [several, record, wrapped]},
            "examples": {"record": {"value": example}},
        }
    }
    for kind in taken(fields)[1:]:
        content[kind] = {"schema": {"type": "string", **({} if kind.startswith("text/") else {"format": "binary"})}}
    return {"required": True, "content": content}


def _answers(served: Served) -> dict[str, Any]:
    example = served.versions[0].example
    one: dict[str, Any] = {"type": "object", **({"examples": [dict(example)]} if example else {})}
    return {
        "type": "object",
        "properties": {
            "model": {"type": "string"},
            "version": {"type": "string"},
            "predictions": {"type": "array", "items": one},
            "notes": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["model", "version", "predictions"],
    }


def _predict(name: str, summary: str, body: Any) -> dict[str, Any]:
    found = _operation(summary, {"$ref": f"#/components/schemas/{name}.Answers"}, 400, 404, 413, 415, 422, 503, 504)
    return {**found, "parameters": [LEVEL], "requestBody": body}


def _protocol(name: str) -> dict[str, Any]:
    inferred = {"$ref": "#/components/schemas/Inferred"}
    body = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Inference"}}}}
    infer = _operation(f"Open Inference Protocol: answers of {name}", inferred, 400, 404, 413, 415, 503, 504)
    return {
        f"/v2/models/{name}": _get(f"Open Inference Protocol: inputs and outputs of {name}", {"type": "object"}, 404),
        f"/v2/models/{name}/ready": _get(f"Open Inference Protocol: whether {name} is ready", {"type": "object"}, 404),
        f"/v2/models/{name}/infer": {"post": {**infer, "requestBody": body}},
    }


def _operation(summary: str, schema: Any, *failures: int) -> dict[str, Any]:
    answer = {"description": "The answer", "content": {"application/json": {"schema": schema}}}
    return {"summary": summary, "responses": {"200": answer, **_failures(*failures)}}


def _get(summary: str, schema: Any, *failures: int) -> dict[str, Any]:
    return {"get": _operation(summary, schema, *failures)}


def _failures(*statuses: int) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {str(status): {"description": _STATUS[status], "content": content} for status in statuses}


def _tensor(required: Iterable[str]) -> dict[str, Any]:
    data = {"type": "array", "items": {}}
    properties = {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"type": "string"},
        "parameters": {"type": "object"},
        "data": data,
    }
    return {"type": "object", "properties": properties, "required": list(required)}


_TENSOR = _tensor(("name", "shape", "datatype", "data"))
_INFERENCE = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "inputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
        "outputs": {"type": "array", "items": _tensor(("name",))},
    },
    "required": ["inputs"],
}
_INFERRED = {
    "type": "object",
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
    },
    "required": ["model_name", "outputs"],
}
