"""``/explain`` and ``/models/NAME/explain``: why each record is answered as it is, and what would change the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from fastapi import APIRouter, HTTPException, Request, Response

from danlu.artifact.files import json_text
from danlu.errors import SchemaError
from danlu.pipeline.background import kept_background
from danlu.pipeline.explain import explain_records
from danlu.serve.bodies import parse_json
from danlu.serve.failures import spoken
from danlu.serve.service import Service
from danlu.serve.versions import Served, Version
from danlu.typed import of_type

__all__ = ["routes"]

MOST = 16
"""Records of one request: each asks the model thousands of times."""

_OPTIONS: Mapping[str, Any] = {
    "class": str | None,
    "keep": tuple[str, ...],
    "to": str | None,
    "changes": int,
    "attributions": bool,
}
_COLUMNS = 6  # that are changed together at most
_SAID = ("answer", "score", "against", "method")  # of an explanation, sentences


def routes(service: Service) -> APIRouter:
    """The routes of explanations."""
    router = APIRouter()
    backgrounds: WeakKeyDictionary[Version, Any] = WeakKeyDictionary()

    def explained(served: Served, version: Version, records: Any, options: dict[str, Any], notes: list[str]) -> Any:
        if version not in backgrounds:
            place = next((line.place for line in served.lines if line.version is version), None)
            backgrounds[version] = None if place is None else kept_background(place)
        more = {"background": backgrounds[version]} if version.trained.kind == "table" else {}
        return explain_records(version.trained, records, say=notes.append, **more, **options)

    async def explain(request: Request, name: str | None = None) -> Response:
        served, asked = service.model(name), request.state.asked
        records, options = _asked_for(parse_json(await request.body()))
        version = service.choose(served, asked)
        asked.rows = len(records)
        notes: list[str] = []
        found = await asyncio.to_thread(explained, served, version, records, options, notes)
        for each in found:
            for key in _SAID:
                if key in each:
                    each[key] = spoken(each[key], request)
            for key in ("doubts", "notes"):
                if key in each:
                    each[key] = [spoken(text, request) for text in each[key]]
        told = {"model": served.name, "version": version.name, "explanations": found}
        if notes:
            told["notes"] = [spoken(note, request) for note in notes]
        return Response(json_text(told, indent=None), media_type="application/json")

    @router.post("/explain")
    async def explain_only(request: Request) -> Response:
        return await explain(request)

    @router.post("/models/{name}/explain")
    async def explain_named(request: Request, name: str) -> Response:
        return await explain(request, name)

    return router


def _asked_for(body: Any) -> tuple[list[Any], dict[str, Any]]:
    """The records of a request, and what it asks of them.

    Raises:
        HTTPException: 400, another form; 413, too many records.
        SchemaError: an option that is none, or of another type.
    """
    given = {"records": body} if isinstance(body, list) else body
    if not isinstance(given, dict) or not isinstance(given.get("records"), list):
        raise HTTPException(
            400,
            "the body is not what is expected: a list of records, or an object with 'records' and options beside them",
        )
    records, options = given["records"], {name: value for name, value in given.items() if name != "records"}
    if len(records) > MOST:
        raise HTTPException(
            413, f"the request has {len(records):,} records; expected at most {MOST} to be explained at a time"
        )
    for name, value in options.items():
        if name not in _OPTIONS:
            raise SchemaError(f"the option {name!r} is unknown; expected {', '.join(_OPTIONS)}")
        try:
            options[name] = of_type(value, _OPTIONS[name])
        except (TypeError, ValueError):
            raise SchemaError(f"the option {name!r} is {str(value)[:60]!r}, which is of another type") from None
    if not 0 <= options.get("changes", 0) <= _COLUMNS:
        raise SchemaError(f"the option 'changes' is {options['changes']}; expected 0 to {_COLUMNS}")
    if "class" in options:
        options["of"] = options.pop("class")
    return records, options
