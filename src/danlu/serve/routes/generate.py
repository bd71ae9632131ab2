"""``/generate`` and ``/models/NAME/generate``: a language model continues a text."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from danlu.artifact.files import json_text
from danlu.errors import SchemaError
from danlu.serve.bodies import options_of, parse_json
from danlu.serve.service import Service

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
        texts = await asyncio.to_thread(version.trained.generate, **options_of(body, _OPTIONS, _MOST))
        told = {"model": served.name, "version": version.name, "texts": texts}
        return Response(json_text(told, indent=None), media_type="application/json")

    @router.post("/generate")
    async def generate_only(request: Request) -> Response:
        return await generate(request)

    @router.post("/models/{name}/generate")
    async def generate_named(request: Request, name: str) -> Response:
        return await generate(request, name)

    return router
