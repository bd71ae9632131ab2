"""``/sample`` and ``/models/NAME/sample``: a model that draws makes new pictures or rows."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from fastapi import APIRouter, Request, Response

from danlu.artifact.files import json_text
from danlu.errors import SchemaError
from danlu.serve.bodies import options_of, parse_json
from danlu.serve.service import Service
from danlu.trained.answers import plain_times

__all__ = ["routes"]

_OPTIONS: Mapping[str, Any] = {"count": int, "seed": int, "label": str | None, "settings": dict[str, Any]}
_DEFAULTS: Mapping[str, Any] = {"count": 1, "seed": 0, "label": None, "settings": {}}
_MOST = {"count": 256, "seed": 2**31 - 1}


def routes(service: Service) -> APIRouter:
    """The routes of what is drawn."""
    router = APIRouter()

    async def sample(request: Request, name: str | None = None) -> Response:
        body = parse_json(await request.body())
        served = service.model(name)
        version = service.choose(served, request.state.asked)
        if not hasattr(version.trained, "sample"):
            raise SchemaError(
                f"a model for {version.trained.purpose} draws nothing new; expected one that does (danlu train photos/ --generate)"
            )
        samples = await asyncio.to_thread(_drawn, version.trained, {**_DEFAULTS, **options_of(body, _OPTIONS, _MOST)})
        told = {"model": served.name, "version": version.name, "samples": samples}
        return Response(json_text(told, indent=None), media_type="application/json")

    @router.post("/sample")
    async def sample_only(request: Request) -> Response:
        return await sample(request)

    @router.post("/models/{name}/sample")
    async def sample_named(request: Request, name: str) -> Response:
        return await sample(request, name)

    return router


def _drawn(trained: Any, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows as records; pictures as PNG files in base64, with their labels."""
    count, label = asked["count"], asked["label"]
    trained.head.check_settings(asked["settings"])
    found = trained.sample(count, seed=asked["seed"], label=label, **asked["settings"])
    if isinstance(found, pl.DataFrame):
        return plain_times(found).to_dicts()
    labels = trained.head.labels_of(count, label)
    pictures = [{"image": _png(picture)} for picture in found]
    if labels is None:
        return pictures
    return [{"label": name, **picture} for name, picture in zip(labels, pictures, strict=True)]


def _png(picture: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
