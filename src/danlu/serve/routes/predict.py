"""``/predict`` and ``/models/NAME/predict``: the answers of ``danlu predict`` over HTTP."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from danlu.artifact.files import json_text
from danlu.errors import DanluError, SchemaError
from danlu.serve.bodies import File, content_type, records_of
from danlu.serve.failures import spoken
from danlu.serve.forms import form_of
from danlu.serve.service import Service

__all__ = ["routes"]


def routes(service: Service) -> APIRouter:
    """The routes of predictions."""
    router = APIRouter()

    async def predict(request: Request, name: str | None = None) -> Response:
        served, asked = service.model(name), request.state.asked
        version = service.choose(served, asked)
        kind = content_type(request.headers.get("content-type"))
        fields = version.trained.fields
        if kind == "application/x-www-form-urlencoded" and (await request.body()).lstrip()[:1] in (b"{", b"["):
            kind = "application/json"  # curl -d without a header
        level = request.query_params.get("level")
        if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
            given = await form_of(request, fields)
        else:
            given = records_of(await request.body(), kind, fields)
        told: dict[str, Any] = {"model": served.name, "version": version.name}
        if isinstance(given, File):
            frame, notes = await service.answer_file(
                version, given, asked, None if level is None else asked_level(level)
            )
            if "text/csv" in request.headers.get("accept", ""):
                return Response(frame.write_csv(), media_type="text/csv")
            told["predictions"] = frame.to_dicts()
        else:
            answer = service.answer if level is None else service.answer_at(asked_level(level))
            told["predictions"], notes = await answer(version, given, asked)
        if notes:
            told["notes"] = [spoken(note, request) for note in notes]
        return Response(json_text(told, indent=None), media_type="application/json")

    @router.post("/predict")
    async def predict_only(request: Request) -> Response:
        return await predict(request)

    @router.post("/models/{name}/predict")
    async def predict_named(request: Request, name: str) -> Response:
        return await predict(request, name)

    @router.get("/models")
    async def models() -> JSONResponse:
        return JSONResponse({"models": [_described(served) for served in service.models.values()]})

    @router.get("/models/{name}")
    async def model(name: str) -> JSONResponse:
        return JSONResponse(_described(service.model(name)))

    @router.post("/models/{name}/reload")
    async def reload(name: str) -> JSONResponse:
        served = service.model(name)
        try:
            renewed = await service.reload(served)
        except DanluError as error:
            raise HTTPException(409, f"the version before goes on: {error}") from error
        return JSONResponse({**_described(served), "reloaded": renewed})

    return router


def asked_level(text: str) -> float:
    """The level of the intervals or sets that are asked for beside the answers.

    Raises:
        SchemaError: it is none.

    >>> asked_level("0.9")
    0.9
    """
    try:
        level = float(text)
    except ValueError:
        level = 0.0
    if not 0 < level < 1:
        raise SchemaError(f"the level is {text[:40]!r}; expected a share above 0 and below 1, such as 0.9")
    return level


def _described(served: Any) -> dict[str, Any]:
    shares = [1 - served.share, served.share] if len(served.versions) > 1 else [1.0]
    versions = [{"version": each.name, "share": share} for each, share in zip(served.versions, shares, strict=True)]
    trained = served.trained
    return {
        "name": served.name,
        "purpose": trained.purpose,
        "task": trained.task,
        "kind": trained.kind,
        "versions": versions,
    }
