"""``/health``, ``/ready`` and ``/metrics``: whether the service lives, whether it can answer, and what it counted."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from danlu.serve.service import Service

__all__ = ["routes"]


def routes(service: Service) -> APIRouter:
    """The routes for who watches the service."""
    router = APIRouter()

    @router.get("/health")
    async def health() -> JSONResponse:
        return JSONResponse({"status": "alive"})

    @router.get("/ready")
    async def ready() -> JSONResponse:
        if service.ready:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"error": "the service is starting or ending"}, 503)

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router
