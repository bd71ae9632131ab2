"""``/openapi.json``, and ``/docs``: a page that shows it and lets each route be tried, with nothing from any other host."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse, JSONResponse

from danlu.serve.openapi import openapi
from danlu.serve.service import Service

__all__ = ["routes"]


def routes(service: Service) -> APIRouter:
    """The routes of the documentation."""
    router = APIRouter()
    source = files("danlu.serve").joinpath("docs.html").read_text("utf-8")

    @router.get("/openapi.json")
    async def document() -> JSONResponse:
        return JSONResponse(openapi(service))

    @router.get("/docs")
    async def docs() -> Response:
        return HTMLResponse(source)

    return router
