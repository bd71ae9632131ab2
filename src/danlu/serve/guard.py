"""What every request passes first: its number, who may ask, limits of size and time, and the headers of every answer."""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import secrets
from collections.abc import MutableMapping
from typing import Any

from danlu.serve.service import Asked, Service

__all__ = ["OPEN", "Guard", "TooLargeError", "brings"]

Message = MutableMapping[str, Any]

OPEN = ("/health", "/ready", "/v2/health/live", "/v2/health/ready", "/", "/docs")
"""What is answered without a token: whether the service lives, and pages that hold nothing of the model."""

_ID = re.compile(r"[\w.:-]{1,80}", re.ASCII)
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        b"frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
)


def brings(authorization: bytes, token: str) -> bool:
    """Whether a header ``Authorization: Bearer TOKEN`` has the token.

    >>> brings(b"Bearer abc", "abc"), brings(b"Bearer abd", "abc"), brings(b"", "abc")
    (True, False, False)
    """
    scheme, _, given = authorization.partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), token.encode())


class TooLargeError(Exception):
    """The body has more bytes than are taken."""


class Guard:
    """The outermost ASGI application."""

    def __init__(self, app: Any, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers: dict[bytes, bytes] = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        asked = Asked(given if _ID.fullmatch(given) else secrets.token_hex(8))
        told: dict[str, Any] = {}
        scope.setdefault("state", {})["asked"] = asked

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                told["status"] = message["status"]
                route = scope.get("route")
                told["route"] = getattr(route, "path", "") if route is not None else ""
                set_already = {name.lower() for name, _ in message["headers"]}
                own = [each for each in _HEADERS if each[0] not in set_already]
                own += [(b"x-request-id", asked.id.encode())]
                if asked.version:
                    own += [(b"x-model", asked.model.encode()), (b"x-model-version", asked.version.encode())]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        with self._service.noting(asked, told):
            refused = self._refused(scope, headers)
            if refused is not None:
                return await _answer(sent, *refused)
            timeout = self._service.options.timeout
            try:
                async with asyncio.timeout(timeout):
                    await self._app(scope, _limited(receive, headers, self._service.options.max_bytes), sent)
            except TooLargeError:
                if "status" in told:
                    raise
                most = self._service.options.max_bytes
                await _answer(sent, 413, f"the body has more than {most:,} bytes, the most that this service takes")
            except TimeoutError:
                if "status" in told:
                    raise
                await _answer(sent, 504, f"there was no answer within {timeout:g} seconds")

    def _refused(
        self, scope: Any, headers: dict[bytes, bytes]
    ) -> tuple[int, str, dict[str, str]] | tuple[int, str] | None:
        options = self._service.options
        host = headers.get(b"host", b"").decode("latin-1")
        name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
        if options.hosts and name.strip("[]").lower() not in options.hosts:
            return (
                421,
                f"this service is not called {name[:80]!r}; expected {' or '.join(options.hosts)} (--allow-host NAME allows another)",
            )
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and scope["method"] not in ("GET", "HEAD") and origin.partition("://")[2].lower() != host.lower():
            return 403, f"a page of {origin[:80]!r} may not ask this service"
        if options.token is not None and scope["path"] not in OPEN:
            given = headers.get(b"authorization", b"")
            if not brings(given, options.token):
                what = "a wrong token" if given else "no token"
                return (
                    401,
                    f"the request has {what}; expected the header Authorization: Bearer TOKEN",
                    {"www-authenticate": "Bearer"},
                )
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > options.max_bytes:
            return 413, f"the body has {int(length):,} bytes; expected at most {options.max_bytes:,}"
        return None


def _limited(receive: Any, headers: dict[bytes, bytes], most: int) -> Any:
    """``receive`` that counts: a body may come in pieces without saying how long it is."""
    count = 0

    async def received() -> Message:
        nonlocal count
        message: Message = await receive()
        if message["type"] == "http.request":
            count += len(message.get("body", b""))
            if count > most:
                raise TooLargeError
        return message

    return received


async def _answer(send: Any, status: int, error: str, headers: dict[str, str] | None = None) -> None:
    body = json.dumps({"error": error}, ensure_ascii=False).encode()
    own = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    await send(
        {"type": "http.response.start", "status": status, "headers": [(k.encode(), v.encode()) for k, v in own.items()]}
    )
    await send({"type": "http.response.body", "body": body})
