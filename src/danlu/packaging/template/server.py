"""Answers for one ONNX file over HTTP. It needs onnxruntime, fastapi and uvicorn; all it knows of the model stands in the file.

``python server.py`` answers at port 8080. ``POST /predict`` takes a record, a list of records, or ``{"records": [...]}``; ``/v2``
speaks version 2 of the Open Inference
Protocol; ``/health``, ``/ready`` and ``/metrics`` are for who watches it. Environment: ``MODEL`` (model.onnx), ``NAME`` (of the
model), ``HOST``, ``PORT``, ``TOKEN`` (asked of each
request that brings data), ``MAX_BYTES``, ``MAX_ROWS``, ``THREADS``.
"""

from __future__ import annotations

import base64
import hmac
import io
import json
import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

TYPES = {"BOOL": "bool", "INT32": "int32", "INT64": "int64", "UINT8": "uint8", "FP32": "float32", "FP64": "float64"}
NAMES = {"tensor(string)": "BYTES", "tensor(bool)": "BOOL", "tensor(int32)": "INT32", "tensor(int64)": "INT64"}
NAMES |= {"tensor(uint8)": "UINT8", "tensor(float)": "FP32", "tensor(double)": "FP64"}
MAX_BYTES = int(os.environ.get("MAX_BYTES", 16 * 2**20))
MAX_ROWS = int(os.environ.get("MAX_ROWS", 10_000))


class Model:
    """The file: records to its inputs, its outputs to records."""

    def __init__(self, path: str, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        told = self.session.get_modelmeta().custom_metadata_map
        self.about: dict[str, Any] = {name: _plain(text) for name, text in told.items()}
        self.inputs = {each.name: each for each in self.session.get_inputs()}
        self.outputs = {each.name: each for each in self.session.get_outputs()}
        self.fields = {
            each["name"]: each for each in self.about.get("inputs") or [{"name": name} for name in self.inputs]
        }

    def answer(self, records: Sequence[Any]) -> list[dict[str, Any]]:
        """The answer to each record; ValueError says what is wrong with one."""
        self._check(records)
        fed = {
            name: self._column(name, [record[name] for record in records]) for name in self.inputs if name != "length"
        }
        if "length" in self.inputs:
            fed |= self._padded(records)
        found = self.session.run(list(self.outputs), fed)
        return self._records(dict(zip(self.outputs, found, strict=True)), len(records))

    def _check(self, records: Sequence[Any]) -> None:
        for number, record in enumerate(records, 1):
            if not isinstance(record, Mapping):
                raise ValueError(f"record {number} is {str(record)[:60]!r}; expected an object with names and values")
            lost = [name for name in self.inputs if name not in record and name != "length"]
            if lost:
                raise ValueError(f"record {number} lacks {', '.join(map(repr, lost[:8]))}; null is an unknown value")

    def _column(self, name: str, values: list[Any]) -> np.ndarray:
        kind, about = self.inputs[name].type, self.fields.get(name, {})
        shape = list(self.inputs[name].shape[1:])
        if not shape and kind == "tensor(string)":
            return np.array([_text(value, name, row) for row, value in enumerate(values, 1)], object)
        if not shape:
            return np.array([_number(value, name, row) for row, value in enumerate(values, 1)], NUMPY[kind])
        if about.get("kind") == "image":
            return np.stack([_pixels(value, shape, row) for row, value in enumerate(values, 1)])
        if name == "values" and "length" in self.inputs:
            return np.zeros((0,))  # padded together with its length
        return np.stack([_array(value, name, shape, kind, row) for row, value in enumerate(values, 1)])

    def _padded(self, records: Sequence[Any]) -> dict[str, np.ndarray]:
        steps, width = self.inputs["values"].shape[1:]
        values, length = np.zeros((len(records), steps, width)), np.zeros(len(records), np.int64)
        for row, record in enumerate(records):
            own = _array(record["values"], "values", [None, width], "tensor(double)", row + 1)[-steps:]
            values[row, : len(own)], length[row] = own, len(own)
        return {"values": values, "length": length}

    def _records(self, found: Mapping[str, Any], rows: int) -> list[dict[str, Any]]:
        target, classes = str(self.about.get("target") or "value"), self.about.get("classes") or []
        records: list[dict[str, Any]] = [{} for _ in range(rows)]
        for name, values in found.items():
            for record, value in zip(records, values, strict=True):
                if name in ("label", "value"):
                    record[target] = plain(value)
                elif name == "probabilities" and value.ndim == 1 and len(value) == len(classes):
                    record |= {
                        f"probability {each}": float(chance) for each, chance in zip(classes, value, strict=True)
                    }
                elif name == "set" and len(value) == len(classes):
                    record["set"] = [each for each, inside in zip(classes, value, strict=True) if inside]
                else:
                    record[name] = plain(value)
        return records


NUMPY: dict[str, Any] = {
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
    "tensor(string)": object,
}


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(value: Any, name: str, row: int) -> str:
    """A value as it would stand in a file; an empty text is missing."""
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if math.isnan(value) else str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, str | bool | int):
        return str(value)
    raise ValueError(f"{name!r} of record {row} is {str(value)[:60]!r}; expected a text, a number or null")


def _number(value: Any, name: str, row: int) -> float:
    if value is None or value == "":
        return math.nan
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.inf
    if math.isinf(found) or isinstance(value, bool | list | dict):
        raise ValueError(
            f"{name!r} of record {row} is {str(value)[:60]!r}; expected a number, or null for an unknown one"
        )
    return found


def _array(value: Any, name: str, shape: Sequence[Any], kind: str, row: int) -> np.ndarray:
    try:
        found = np.array(value, np.float64 if kind != "tensor(string)" else object)  # null becomes NaN
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name!r} of record {row} is no array of numbers: {str(error)[:80]}") from None
    fits = found.ndim == len(shape) and all(
        not isinstance(s, int) or s == f for s, f in zip(shape, found.shape, strict=True)
    )
    if not fits:
        expected = "×".join(str(size) if isinstance(size, int) else "any" for size in shape)
        raise ValueError(
            f"{name!r} of record {row} has the shape {'×'.join(map(str, found.shape))}; expected {expected}"
        )
    return found.astype(NUMPY[kind])


def _pixels(value: Any, shape: Sequence[int], row: int) -> np.ndarray:
    """A picture: the numbers 0 to 255 of its pixels, or a PNG or JPEG file in base64."""
    height, width, channels = shape
    if isinstance(value, str):
        from PIL import Image

        try:
            opened = Image.open(io.BytesIO(base64.b64decode(value, validate=True)))
            picture = opened.convert("L" if channels == 1 else "RGB").resize((width, height), Image.Resampling.BILINEAR)
        except Exception:
            raise ValueError(f"'image' of record {row} is no picture; expected a PNG or JPEG file in base64") from None
        return np.asarray(picture, np.uint8).reshape(shape)
    found = np.asarray(value)
    if found.shape == (height, width) and channels == 1:
        found = found[..., None]
    if found.shape != tuple(shape) or found.dtype.kind not in "iu" or found.min() < 0 or found.max() > 255:
        raise ValueError(
            f"'image' of record {row} is no array of {height}×{width}×{channels} whole numbers from 0 to 255"
        )
    return found.astype(np.uint8)


def plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [plain(each) for each in value]
    if isinstance(value, np.floating | float):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


class Counts:
    """Requests and seconds by route and status, in Prometheus's text."""

    def __init__(self) -> None:
        self._lock, self._of = threading.Lock(), dict[tuple[str, int], list[float]]()

    def add(self, route: str, status: int, seconds: float) -> None:
        with self._lock:
            count = self._of.setdefault((route, status), [0, 0.0])
            count[0], count[1] = count[0] + 1, count[1] + seconds

    def text(self) -> str:
        with self._lock:
            items = sorted(self._of.items())
        lines = ["# TYPE danlu_requests_total counter"]
        lines += [f'danlu_requests_total{{route="{r}",status="{s}"}} {int(c[0])}' for (r, s), c in items]
        lines += ["# TYPE danlu_request_seconds_total counter"]
        lines += [f'danlu_request_seconds_total{{route="{r}",status="{s}"}} {c[1]:.6f}' for (r, s), c in items]
        return "\n".join(lines) + "\n"


def app_of(model: Model, name: str = "model", token: str = "") -> FastAPI:
    """The application."""
    app, counts = FastAPI(title=name, docs_url=None, redoc_url=None), Counts()

    async def body(request: Request) -> Any:
        given = request.headers.get("authorization", "")
        if token and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise HTTPException(401, "expected the header Authorization: Bearer TOKEN")
        data = bytearray()
        async for part in request.stream():
            data += part
            if len(data) > MAX_BYTES:
                raise HTTPException(413, f"the body has more than {MAX_BYTES:,} bytes")
        try:
            return json.loads(bytes(data))
        except (ValueError, RecursionError):
            raise HTTPException(400, "the body is no JSON") from None

    @app.middleware("http")
    async def counted(request: Request, call_next: Any) -> Response:
        began = time.perf_counter()
        response: Response = await call_next(request)
        route = request.scope.get("route")
        counts.add(getattr(route, "path", "other"), response.status_code, time.perf_counter() - began)
        return response

    @app.exception_handler(HTTPException)
    async def said(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code)

    @app.get("/health")
    @app.get("/v2/health/live")
    async def health() -> dict[str, Any]:
        return {"live": True}

    @app.get("/ready")
    @app.get("/v2/health/ready")
    async def ready() -> dict[str, Any]:
        return {"ready": True}

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(counts.text())

    @app.get("/")
    async def about() -> dict[str, Any]:
        shown = ("task", "target", "classes", "inputs", "outputs", "level", "scores", "license", "danlu_version")
        return {"name": name, **{each: model.about.get(each) for each in shown}}

    @app.post("/predict")
    async def predict(request: Request) -> JSONResponse:
        given = await body(request)
        records = given.get("records", [given]) if isinstance(given, dict) else given
        if not isinstance(records, list) or not 0 < len(records) <= MAX_ROWS:
            raise HTTPException(422, f"expected 1 to {MAX_ROWS:,} records")
        return JSONResponse({"predictions": await _run(model.answer, records)})

    @app.get("/v2/models/{of}")
    async def described(of: str) -> dict[str, Any]:
        _known(of, name)
        return {"name": name, "platform": "onnx", "inputs": _tensors(model.inputs), "outputs": _tensors(model.outputs)}

    @app.get("/v2/models/{of}/ready")
    async def model_ready(of: str) -> dict[str, Any]:
        _known(of, name)
        return {"name": name, "ready": True}

    @app.post("/v2/models/{of}/infer")
    async def infer(of: str, request: Request) -> JSONResponse:
        _known(of, name)
        given = await body(request)
        told = await _run(_inferred, model, given)
        return JSONResponse({"model_name": name, "id": given.get("id", ""), "outputs": told})

    return app


async def _run(work: Any, *given: Any) -> Any:
    from starlette.concurrency import run_in_threadpool

    try:
        return await run_in_threadpool(work, *given)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise HTTPException(422, str(error)[:300]) from None


def _known(of: str, name: str) -> None:
    if of != name:
        raise HTTPException(404, f"there is no model {of!r}; there is {name!r}")


def _tensors(nodes: Mapping[str, Any]) -> list[dict[str, Any]]:
    shapes = {name: [size if isinstance(size, int) else -1 for size in node.shape] for name, node in nodes.items()}
    return [{"name": name, "datatype": NAMES[node.type], "shape": shapes[name]} for name, node in nodes.items()]


def _inferred(model: Model, given: Any) -> list[dict[str, Any]]:
    if not isinstance(given, dict) or not isinstance(given.get("inputs"), list):
        raise ValueError("expected an object with 'inputs', a list of tensors")
    fed = {}
    for tensor in given["inputs"]:
        name = tensor.get("name") if isinstance(tensor, dict) else None
        if name not in model.inputs:
            raise ValueError(f"there is no input {name!r}; expected {', '.join(model.inputs)}")
        kind, shape = NAMES[model.inputs[name].type], tensor.get("shape")
        if tensor.get("datatype") != kind:
            raise ValueError(f"{name!r} is of {tensor.get('datatype')!r}; expected {kind}")
        data = np.array(tensor.get("data"), object).ravel()
        if not isinstance(shape, list) or math.prod(shape) != data.size or not 0 < shape[0] <= MAX_ROWS:
            raise ValueError(f"the data of {name!r} does not fit the shape {shape}")
        data = (
            np.array([math.nan if each is None else each for each in data], object) if kind.startswith("FP") else data
        )
        fed[name] = data.astype(TYPES.get(kind, object)).reshape(shape)
    lost = [name for name in model.inputs if name not in fed]
    if lost:
        raise ValueError(f"the inputs lack {', '.join(lost)}")
    try:
        found = model.session.run(list(model.outputs), fed)
    except Exception as error:
        raise ValueError(str(error).splitlines()[0][:200]) from None
    told = zip(_tensors(model.outputs), found, strict=True)
    return [{**tensor, "shape": list(out.shape), "data": plain(out.ravel())} for tensor, out in told]


def main() -> None:
    """Answer until it is told to end."""
    import uvicorn

    model = Model(os.environ.get("MODEL", "model.onnx"), int(os.environ.get("THREADS", "0")))
    app = app_of(model, os.environ.get("NAME", "model"), os.environ.get("TOKEN", ""))
    uvicorn.run(
        app, host=os.environ.get("HOST", "127.0.0.1"), port=int(os.environ.get("PORT", "8080")), access_log=False
    )


if __name__ == "__main__":
    main()
