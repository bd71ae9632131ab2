"""What the OpenAPI document says of the routes beyond predictions: explanations, texts that are written, and agents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from danlu.rl.games.match import Match
from danlu.serve.examples import example_record
from danlu.serve.versions import Served

__all__ = ["LEVEL", "beyond"]

LEVEL = {
    "name": "level",
    "in": "query",
    "description": "an interval, or a set of classes, that holds the true answer in this share of all cases",
    "schema": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
}
"""The parameter of a prediction that asks for its uncertainty."""

_NUMBER = {"type": "integer", "minimum": 0}
_GENERATE = {
    "prompt": {"type": "string"},
    "length": {"type": "integer", "minimum": 1, "maximum": 2000},
    "samples": {"type": "integer", "minimum": 1, "maximum": 8},
    "temperature": {"type": "number", "minimum": 0},
    "top_k": {"type": ["integer", "null"], "minimum": 1},
    "top_p": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 1},
    "seed": _NUMBER,
}
_SAMPLE = {
    "count": {"type": "integer", "minimum": 1, "maximum": 256},
    "seed": {**_NUMBER, "maximum": 2**31 - 1},
    "label": {"type": ["string", "null"]},
    "settings": {"type": "object"},
}
_PLAY = {"moves": {"type": "array", "items": _NUMBER}, "agent_begins": {"type": "boolean"}}


def beyond(name: str, served: Served, operation: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """The paths of a model beyond predictions, as far as its kind has them.

    Args:
        operation: makes an operation of a summary, the schema of its answer, and the statuses of its failures.
    """
    trained, found = served.trained, {}
    at = f"/models/{name}"

    def add(path: str, summary: str, properties: dict[str, Any], *required: str, example: Any = None) -> None:
        schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
        content = {"schema": schema, **({} if example is None else {"examples": {"request": {"value": example}}})}
        body = {"required": True, "content": {"application/json": content}}
        told = operation(summary, {"type": "object"}, 400, 404, 413, 422, 503, 504)
        found[f"{at}/{path}"] = {"post": {**told, "requestBody": body}}

    if getattr(trained.reader, "explains", False):
        records = {
            "type": "array",
            "items": {"$ref": f"#/components/schemas/{name}.Record"},
            "minItems": 1,
            "maxItems": 16,
        }
        options: dict[str, Any] = {"class": {"type": ["string", "null"], "description": "the class to explain"}}
        if trained.kind == "table":
            options |= {
                "keep": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "columns that are not to be changed",
                },
                "to": {
                    "type": ["string", "null"],
                    "description": "the answer to be reached, such as a class or '>=200'",
                },
                "changes": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": 6,
                    "description": "columns that are changed at most",
                },
                "attributions": {"type": "boolean", "description": "whether it is said what each column added"},
            }
        example = {"records": [example_record(trained.fields)]}
        add(
            "explain",
            f"Why {name} answers so, and what would change it",
            {"records": records, **options},
            "records",
            example=example,
        )
    if hasattr(trained, "generate"):
        add("generate", f"A text that {name} continues", _GENERATE, example={"prompt": "", "length": 100})
    if hasattr(trained, "sample"):
        add("sample", f"What {name} draws anew", _SAMPLE, example={"count": 1, "seed": 0})
    if isinstance(getattr(trained.head, "env", None), Match):
        add("play", f"A board game against {name}: the moves so far, and its reply", _PLAY, example={"moves": []})
    if hasattr(trained, "record"):
        add(
            "watch", f"A film of an episode of {name}", {"seed": {**_NUMBER, "maximum": 2**31 - 1}}, example={"seed": 0}
        )
    return found
