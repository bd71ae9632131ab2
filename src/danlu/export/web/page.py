"""A trained model as one page that predicts in a browser: a file of ONNX, a form made from the schema, and onnxruntime-web within it."""

from __future__ import annotations

import base64
import dataclasses
import gzip
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from danlu.data.encode import TableEncoder
from danlu.data.images import ImageEncoder
from danlu.data.text import TextEncoder
from danlu.errors import ConfigError
from danlu.export.heads import Answer
from danlu.export.written import kind_of_model
from danlu.language import LANGUAGES
from danlu.report.form import about, as_script_data, scripts, style
from danlu.report.html import rendered
from danlu.trained import Trained
from danlu.trained.together import Encoders

__all__ = ["PACKAGE", "check_web", "runtime_of", "web_page"]

PACKAGE = "onnxruntime-web"
_FILES = {"runtime": "ort.wasm.bundle.min.mjs", "machine": "ort-wasm-simd-threaded.wasm"}
_HOW = f"npm install {PACKAGE} puts it into node_modules here; --runtime FOLDER says where else it is"
_KINDS = {TableEncoder: "table", ImageEncoder: "image", TextEncoder: "text"}
_DIGIT = (28, 28, 1)  # rows, columns and channels of MNIST
_DARK = 64  # a ground whose pixels are below this


def runtime_of(folder: str | Path | None = None) -> dict[str, bytes]:
    """The two files of onnxruntime-web that a page needs: its program, and what WebAssembly runs.

    Args:
        folder: the unpacked package, a folder with ``node_modules`` in it, or the package's ``dist``; None is the working directory.

    Raises:
        ConfigError: they are not there.
    """
    place = Path.cwd() if folder is None else Path(folder)
    for each in (place / "node_modules" / PACKAGE / "dist", place / PACKAGE / "dist", place / "dist", place):
        if all((each / name).is_file() for name in _FILES.values()):
            return {what: (each / name).read_bytes() for what, name in _FILES.items()}
    if folder is None:
        raise ConfigError(f"a page needs the package {PACKAGE}, which runs the model in a browser", hint=_HOW)
    raise ConfigError(
        f"{folder} has no {PACKAGE}: expected {' and '.join(_FILES.values())} in its folder dist", hint=_HOW
    )


def web_page(trained: Trained, data: bytes, answer: Answer, runtime: Mapping[str, bytes], *, rows: Any = None) -> str:
    """The page, whole: a browser opens it from the disk, and it asks for nothing else.

    Args:
        data: the file of ONNX, and ``answer``: what its outputs are.
        runtime: of :func:`runtime_of`.
        rows: some of the rows that the model is for, as its encoder takes them; None where there are none.
    """
    encoder = _first(trained)
    told = {"score": "", "trained_on": 0, **about(trained)}
    known = {
        **told,
        "enters": _KINDS[type(encoder)],
        "inputs": kind_of_model(trained).about(trained.encoder),
        "outputs": {name: given for name, given in dataclasses.asdict(answer).items() if given},
    }
    if isinstance(encoder, ImageEncoder):
        known["picture"] = _picture(encoder, rows)
    if isinstance(encoder, TextEncoder):
        known["text"] = encoder.state()[0]
    own = Path(__file__).parent
    beside = ("picture.js", "text.js") if known["enters"] != "table" else ()
    code = "\n".join([scripts(), *((own / name).read_text(encoding="utf-8") for name in (*beside, "run.js"))])
    parts = {name: gzip.compress(each, mtime=0) for name, each in {**runtime, "model": data}.items()}
    return rendered(
        "web.html.jinja",
        language="en",  # the page has all
        script=code,
        allowed={"script-src": "blob: 'wasm-unsafe-eval'", "connect-src": "data:", "media-src": "blob:"},
        title=told["heading"],
        style=style(),
        mains={each: rendered("web_main.html.jinja", language=each, about=told) for each in LANGUAGES},
        about=as_script_data(known),
        held={name: base64.b64encode(each).decode() for name, each in parts.items()},
    )


def check_web(trained: Trained) -> None:
    """Refuse a model that no page can ask yet.

    Raises:
        ConfigError: see above.
    """
    labels = trained.task in ("binary", "multiclass", "regression", "multilabel")
    if type(_first(trained)) not in _KINDS or not labels:
        raise ConfigError(
            f"a page cannot ask a model for {trained.purpose} yet; it can ask those of tables, images and texts with labels",
            hint="danlu export RUN writes the file without a page; danlu serve RUN has a page for every kind",
        )


def _first(trained: Trained) -> Any:
    """The encoder, of several models that are one the first."""
    return trained.encoder.encoders[0] if isinstance(trained.encoder, Encoders) else trained.encoder


def _picture(encoder: ImageEncoder, rows: Any) -> dict[str, Any]:
    """How a picture is drawn: on which ground, by the edges of known ones, and whether as MNIST's digits are."""
    known = None if rows is None else np.asarray(encoder.transform(rows))
    dark = known is not None and len(known) > 0 and bool(np.median(_edges(known)) < _DARK)
    return {
        "height": encoder.height,
        "width": encoder.width,
        "channels": encoder.channels,
        "dark": dark,
        "digits": dark and encoder.in_shape == _DIGIT,
    }


def _edges(pictures: np.ndarray) -> np.ndarray:
    """The pixels of the four edges, of all pictures ``(pictures, height, width, channels)`` in one row."""
    sides: Iterable[np.ndarray] = (pictures[:, 0], pictures[:, -1], pictures[:, :, 0], pictures[:, :, -1])
    return np.concatenate([each.ravel() for each in sides])
