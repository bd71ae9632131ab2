"""``/drift``: whether the newest rows are still of the kind that the model was trained on."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from danlu.evaluate.histograms import Drift
from danlu.serve.service import Service
from danlu.serve.versions import Version
from danlu.watch.monitor import Monitored
from danlu.watch.profile import told

__all__ = ["routes"]


def routes(service: Service) -> APIRouter:
    """The routes of drift, as data, or as a page for a browser."""
    router = APIRouter()

    async def drift(request: Request, name: str | None = None) -> Response:
        served = service.model(name)
        version = service.choose(served, request.state.asked, request.query_params.get("version"))
        if not version.recent.watched:
            raise HTTPException(
                404,
                f"{served.name!r} was saved without a profile of its training data, which rows are compared with; "
                "models that are trained now have one",
            )
        found = await asyncio.get_running_loop().run_in_executor(None, version.recent.drift)
        if "text/html" in request.headers.get("accept", ""):
            page = await asyncio.get_running_loop().run_in_executor(None, _page, served.name, version, found)
            return HTMLResponse(page)
        return JSONResponse(described(served.name, version, found))

    @router.get("/drift")
    async def drift_only(request: Request) -> Response:
        return await drift(request)

    @router.get("/models/{name}/drift")
    async def drift_named(request: Request, name: str) -> Response:
        return await drift(request, name)

    return router


def described(name: str, version: Version, found: list[Drift]) -> dict[str, Any]:
    """What was found, as plain data."""
    return {
        "model": name,
        "version": version.name,
        "rows": len(version.recent),
        "drifted": [each.name for each in found if each.sure],
        "each": [each.as_dict() for each in found],
    }


def _page(name: str, version: Version, found: list[Drift]) -> str:
    rows = len(version.recent)
    said = (f"The newest {rows:,} rows that version {version.name} of {name} answered: {told(found, rows)}",)
    return Monitored(rows, found, (), "", math.nan, None, 0, (), said).page(f"{name}, watched")
