"""Errors as answers: one form, ``{"error": …, "hint": …}``, with the words of ``danlu predict``."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from danlu.errors import DanluError
from danlu.language import LANGUAGES, said
from danlu.language.catalogue import catalogue
from danlu.memory import is_shortage
from danlu.serve.batcher import BusyError

__all__ = ["add_handlers", "spoken"]


def spoken(text: str, request: Request) -> str:
    """A message in the language that the caller asks for (``Accept-Language``), else in that of the service."""
    wanted = request.headers.get("accept-language", "")[:2].lower()
    if wanted not in LANGUAGES:
        return said(text)
    return text if wanted == "en" else catalogue(wanted).said(text)


def _failure(request: Request, status: int, error: str, hint: str | None = None, **headers: str) -> JSONResponse:
    body = {"error": spoken(error, request), **({} if hint is None else {"hint": spoken(hint, request)})}
    return JSONResponse(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


async def _danlu(request: Request, error: Any) -> JSONResponse:
    return _failure(request, 422, error.message, error.hint)


async def _http(request: Request, error: Any) -> JSONResponse:
    return _failure(
        request, error.status_code, str(error.detail), **{k.lower(): v for k, v in (error.headers or {}).items()}
    )


async def _busy(request: Request, error: Any) -> JSONResponse:
    return _failure(
        request, 503, "the service is busy: too many rows wait already", "ask again in a second", retry_after="1"
    )


async def _invalid(request: Request, error: Any) -> JSONResponse:
    return _failure(request, 422, f"the request does not fit: {str(error.errors()[0].get('msg', ''))[:200]}")


async def _unforeseen(request: Request, error: Any) -> JSONResponse:
    if is_shortage(error):
        return _failure(
            request, 503, "there is not enough memory for this request now", "send fewer rows", retry_after="5"
        )
    return _failure(request, 500, f"the service failed at this; its log says more (request {request.state.asked.id})")


def add_handlers(app: FastAPI) -> None:
    """Answer every error in this form."""
    handlers: dict[Any, Any] = {
        DanluError: _danlu,
        HTTPException: _http,
        StarletteHTTPException: _http,
        BusyError: _busy,
        RequestValidationError: _invalid,
        Exception: _unforeseen,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
