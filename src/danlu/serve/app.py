"""The application: a service, its routes, and the guard in front of them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from fastapi import FastAPI

from danlu.serve.failures import add_handlers
from danlu.serve.guard import Guard
from danlu.serve.options import ServeOptions
from danlu.serve.routes import ROUTES
from danlu.serve.service import Service
from danlu.trained import Trained

__all__ = ["create_app"]


def create_app(
    models: Mapping[str, Trained | str | Path],
    options: ServeOptions | None = None,
    *,
    canaries: Mapping[str, tuple[Trained | str | Path, float]] | None = None,
    allow: Sequence[str] = (),
) -> FastAPI:
    """An ASGI application that answers for trained models; ``danlu serve`` runs it.

    Args:
        models: folders of runs or saved models, or models, by their names.
        options: limits, batches, token and logs; see :class:`ServeOptions`.
        canaries: for some names, a folder or model that answers a share of the requests, and that share.
        allow: modules that an agent's environment may import.

    Raises:
        DanluError: a model that cannot be loaded, or a log that cannot be written.
    """
    given = options or ServeOptions()  # type: ignore[call-arg]
    service = Service(models, given, canaries=canaries, allow=allow)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    app = FastAPI(title="danlu", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    add_handlers(app)
    for routes in ROUTES:
        app.include_router(routes(service))
    app.add_middleware(Guard, service=service)
    return app
