"""``/play`` and ``/watch``: a board game against an agent, and a film of one that acts."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from typing import Any

import numpy as np
from fastapi import APIRouter, HTTPException, Request, Response

from danlu.artifact.files import json_text
from danlu.errors import SchemaError
from danlu.report import png_uri
from danlu.serve.bodies import parse_json
from danlu.serve.service import Service
from danlu.trained import Trained

__all__ = ["routes"]

_MOVES = 1000
_PICTURES = 120  # of a film at most


def routes(service: Service) -> APIRouter:
    """The routes of agents."""
    router = APIRouter()
    one_at_a_time = threading.Lock()  # what is compiled for the first is there for the second

    async def asked_of(request: Request, name: str | None, what: str) -> tuple[Any, dict[str, Any]]:
        body = parse_json(await request.body())
        version = service.choose(service.model(name), request.state.asked)
        if not hasattr(version.trained, what):
            raise SchemaError(f"a model for {version.trained.purpose} does not act; expected an agent")
        if not isinstance(body, dict):
            raise HTTPException(400, f"the body is a {type(body).__name__}; expected an object")
        return version.trained, body

    async def play(request: Request, name: str | None = None) -> Response:
        trained, body = await asked_of(request, name, "turn")
        moves, begins = body.get("moves", []), body.get("agent_begins", False)
        whole = isinstance(moves, list) and all(type(move) is int for move in moves) and len(moves) <= _MOVES
        if not whole or type(begins) is not bool:
            raise SchemaError("expected 'moves', a list of whole numbers, and 'agent_begins', true or false")

        def turned() -> Any:
            with one_at_a_time:
                return trained.turn(moves, agent_begins=begins)

        turn = await asyncio.to_thread(turned)
        return Response(json_text(dataclasses.asdict(turn), indent=None), media_type="application/json")

    async def watch(request: Request, name: str | None = None) -> Response:
        trained, body = await asked_of(request, name, "record")
        seed = body.get("seed", 0)
        if type(seed) is not int or not 0 <= seed < 2**31:
            raise SchemaError(f"the seed is {str(seed)[:40]!r}; expected a whole number, 0 or more")
        told = await asyncio.to_thread(_filmed, trained, seed)
        return Response(json_text(told, indent=None), media_type="application/json")

    for route, of in (("play", play), ("watch", watch)):
        router.post(f"/{route}")(_alone(of))
        router.post(f"/models/{{name}}/{route}")(_named(of))
    return router


def _alone(of: Any) -> Any:
    async def alone(request: Request) -> Response:
        found: Response = await of(request)
        return found

    return alone


def _named(of: Any) -> Any:
    async def named(request: Request, name: str) -> Response:
        found: Response = await of(request, name)
        return found

    return named


def _filmed(trained: Trained, seed: int) -> dict[str, Any]:
    """One episode as plain data: pictures as ``data:`` addresses, actions, rewards, and what the agent said of each step."""
    episode = trained.record(seed=seed, pictures=_PICTURES)
    steps, outputs = len(episode.rewards), episode.outputs
    leaning = outputs.get("probabilities")
    return {
        "frames": [png_uri(frame) for frame in episode.frames],
        "every": max(1, round(steps / max(len(episode.frames) - 1, 1))),
        "actions": np.asarray(episode.actions).tolist(),
        "rewards": episode.rewards.tolist(),
        "return": episode.score,
        "terminated": episode.terminated,
        "value": None
        if "value" not in outputs
        else np.asarray(outputs["value"], np.float64).reshape(steps, -1)[:, 0].tolist(),  # (steps, values)
        "leaning": None if leaning is None or leaning.ndim != 2 else np.asarray(leaning, np.float64).round(4).tolist(),
    }
