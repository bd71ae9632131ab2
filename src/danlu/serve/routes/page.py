"""``/``: the page that asks a model."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from danlu.language import LANGUAGES, current
from danlu.pipeline.background import kept_background
from danlu.report.form import about, asking_page, door_page
from danlu.rl.games.match import Match
from danlu.serve.guard import brings
from danlu.serve.service import Service
from danlu.serve.versions import Served

__all__ = ["routes"]

_BOARDS = ("tic-tac-toe", "connect-four", "othello", "go-9x9")  # a move of chess is no cell


def routes(service: Service) -> APIRouter:
    """The route of the page."""
    router = APIRouter()

    @router.get("/")
    async def page(request: Request) -> Response:
        token = service.options.token
        if token is not None and not brings(
            request.headers.get("authorization", "").encode("latin-1", "replace"), token
        ):
            return _page(*door_page(language=_language(request)), status=401)
        name = request.query_params.get("model") or next(iter(service.models))
        served, language = service.model(name), _language(request)
        own = f"models/{quote(served.name, safe='')}/"
        several = [(each, f"?model={quote(each, safe='')}&lang={language}") for each in service.models]
        told = told_of(served)
        paths = {what: own + what for what in ("predict", "explain", "generate", "play", "watch")}
        if "level" in told:
            paths["predict"] += f"?level={told['level']}"
        html, policy = asking_page(
            told,
            paths,
            language=language,
            models=several,
            model=served.name,
            address=f"?model={quote(served.name, safe='')}",
        )
        return _page(html, policy)

    return router


def _page(html: str, policy: str, status: int = 200) -> Response:
    headers = {"content-security-policy": policy, "vary": ", ".join(("accept-language", "authorization"))}
    return Response(html, status, headers, "text/html")


def told_of(served: Served) -> dict[str, Any]:
    """What the page has to know of a model of a service."""
    trained, line = served.trained, served.stable
    told, reader = about(trained), cast(Any, trained.reader)
    explains = reader is not None and reader.explains
    if explains and trained.kind == "table":
        explains = line.place is not None and kept_background(line.place) is not None
        told["changes"] = explains and any(
            column.kind in ("numeric", "boolean") or (column.kind == "categorical" and not column.is_open)
            for column in trained.encoder.schema.features
        )
    told["explains"] = explains
    env = getattr(trained.head, "env", None)
    if isinstance(env, Match) and env.game.name in _BOARDS:
        rows, columns = env.game.board_shape[:2]
        told["game"] = {"rows": rows, "columns": columns, "moves": env.game.actions}
    elif env is not None:
        told["watch"] = True
    return told


def _language(request: Request) -> str:
    """That of the query, else the first that the reader's browser asks for and that there is, else that of the service."""
    asked = [request.query_params.get("lang", "")]
    if not asked[0]:
        asked = [each.partition(";")[0].strip() for each in request.headers.get("accept-language", "").split(",")]
    known = (each[:2].lower() for each in asked)
    return next((each for each in known if each in LANGUAGES), current())
