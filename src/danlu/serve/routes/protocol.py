"""``/v2``: version 2 of the Open Inference Protocol, which KServe, Triton, Seldon and MLServer speak.

Source: https://github.com/kserve/open-inference-protocol, ``specification/protocol/inference_rest.md``.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from danlu import __version__
from danlu.artifact.files import json_text, plain
from danlu.errors import DanluError, SchemaError, shorten, unknown_name
from danlu.serve.bodies import content_type, parse_json
from danlu.serve.failures import spoken
from danlu.serve.service import Service
from danlu.serve.tensors import field_tensor, output_tensor, records_from, tensor_of

__all__ = ["routes"]


def routes(service: Service) -> APIRouter:
    """The routes of the protocol."""
    router = APIRouter()

    def live() -> JSONResponse:
        return JSONResponse({"live": True})

    def ready() -> JSONResponse:
        return JSONResponse({"ready": service.ready, "live": True}, 200 if service.ready else 503)

    def server() -> JSONResponse:
        return JSONResponse({"name": "danlu", "version": __version__, "extensions": []})

    def model_ready(request: Request, name: str, version: str | None = None) -> JSONResponse:
        service.choose(service.model(name), request.state.asked, version)
        return JSONResponse({"name": name, "ready": service.ready})

    def metadata(request: Request, name: str, version: str | None = None) -> JSONResponse:
        served = service.model(name)
        chosen = service.choose(served, request.state.asked, version)
        return JSONResponse(
            {
                "name": name,
                "versions": [each.name for each in served.versions],
                "platform": "danlu_jax",
                "inputs": [field_tensor(field) for field in chosen.trained.fields],
                "outputs": [output_tensor(key, plain(value)) for key, value in chosen.example.items()],
            }
        )

    async def infer(request: Request, name: str, version: str | None = None) -> Response:
        chosen = service.choose(service.model(name), request.state.asked, version)
        kind = content_type(request.headers.get("content-type"))
        if kind != "application/json":
            raise HTTPException(415, f"the body is of the type {kind[:60]!r}; expected application/json")
        try:
            given = _request(parse_json(await request.body()))
            answers, notes = await service.answer(chosen, records_from(given["inputs"]), request.state.asked)
            outputs = _outputs([plain(each) for each in answers], given.get("outputs"))
        except DanluError as error:  # the protocol has one status for all that is wrong with a request
            raise HTTPException(400, str(error)) from error
        told: dict[str, Any] = {"model_name": name, "model_version": chosen.name, "outputs": outputs}
        if "id" in given:
            told["id"] = given["id"]
        if notes:
            told["parameters"] = {"notes": [spoken(note, request) for note in notes]}
        return Response(json_text(told, indent=None), media_type="application/json")

    router.add_api_route("/v2/health/live", live)
    router.add_api_route("/v2/health/ready", ready)
    for path in ("/v2", "/v2/"):
        router.add_api_route(path, server)
    for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        router.add_api_route(path, metadata)
        router.add_api_route(f"{path}/ready", model_ready)
        router.add_api_route(f"{path}/infer", infer, methods=["POST"])
    return router


def _request(body: Any) -> dict[str, Any]:
    """A request's body, in the parts that are looked at here."""
    if not isinstance(body, dict) or not isinstance(body.get("inputs"), list):
        raise SchemaError(f"the body is {shorten(body)}; expected an object with 'inputs', a list of tensors")
    if not isinstance(body.get("id", ""), str):
        raise SchemaError(f"the id is {shorten(body['id'])}; expected a text")
    for where in (body, *(each for each in body["inputs"] if isinstance(each, dict))):
        if not isinstance(where.get("parameters", {}), dict):
            raise SchemaError(f"the parameters are {shorten(where['parameters'])}; expected an object")
    outputs = body.get("outputs", [])
    fine = isinstance(outputs, list) and all(
        isinstance(each, dict) and isinstance(each.get("name"), str) for each in outputs
    )
    if not fine or not all(isinstance(each.get("parameters", {}), dict) for each in outputs):
        raise SchemaError(f"the outputs are {shorten(outputs)}; expected a list of objects with a name each")
    return body


def _outputs(answers: list[dict[str, Any]], wanted: Any) -> list[dict[str, Any]]:
    """The answers as tensors; those that are wanted, or all."""
    names = list(dict.fromkeys(name for each in answers for name in each))
    chosen = [each["name"] for each in wanted] if wanted else names
    for name in chosen:
        if name not in names:
            raise unknown_name("output", name, names, error=SchemaError)
    return [tensor_of(name, [each.get(name) for each in answers]) for name in chosen]
