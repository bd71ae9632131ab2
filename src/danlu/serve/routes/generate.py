"""``/generate`` and ``/models/NAME/generate``: a language model continues a text."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response

from danlu.artifact.files import json_text
from danlu.errors import SchemaError
from danlu.serve.bodies import parse_json
from danlu.serve.service import Service
from danlu.typed import of_type

__all__ = ["routes"]

_OPTIONS: Mapping[str, Any] = {
    "prompt": str,
    "length": int,
    "samples": int,
    "temperature": float,
    "top_k": int | None,
    "top_p": float | None,
    "seed": int,
}
_MOST = {"length": 2000, "samples": 8, "seed": 2**31 - 1}


def routes(service: Service) -> APIRouter:
    """The routes of texts that are written."""
    router = APIRouter()

    async def generate(request: Request, name: str | None = None) -> Response:
        body = parse_json(await request.body())
        served = service.model(name)
        version = service.choose(served, request.state.asked)
        if not hasattr(version.trained, "generate"):
            raise SchemaError(f"a model for {version.trained.purpose} writes no texts; expected a language model")
        texts = await asyncio.to_thread(version.trained.generate, **_asked_for(body))
        told = {"model": served.name, "version": version.name, "texts": texts}
        return Response(json_text(told, indent=None), media_type="application/json")

    @router.post("/generate")
    async def generate_only(request: Request) -> Response:
        return await generate(request)

    @router.post("/models/{name}/generate")
    async def generate_named(request: Request, name: str) -> Response:
        return await generate(request, name)

    return router


def _asked_for(body: Any) -> dict[str, Any]:
    """The arguments of a language model's ``generate`` in a request.

    Raises:
        HTTPException: 400, another form.
        SchemaError: an option that is none, of another type, or too large.
    """
    if not isinstance(body, dict):
        raise HTTPException(400, f"the body is a {type(body).__name__}; expected an object")
    for name, value in body.items():
        if name not in _OPTIONS:
            raise SchemaError(f"the option {name!r} is unknown; expected {', '.join(_OPTIONS)}")
        try:
            body[name] = of_type(value, _OPTIONS[name])
        except (TypeError, ValueError):
            raise SchemaError(f"the option {name!r} is {str(value)[:60]!r}, which is of another type") from None
        if name in _MOST and not 0 <= body[name] <= _MOST[name]:
            raise SchemaError(f"the option {name!r} is {body[name]:,}; expected at most {_MOST[name]:,}")
    return body
