"""``danlu package``: a trained model as a folder that runs on any machine without danlu."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import danlu
from danlu.errors import ConfigError
from danlu.export import export
from danlu.export.called import answers_rows
from danlu.export.kinds import kind_of
from danlu.export.runtime import needed
from danlu.files import whole_folder
from danlu.pipeline import load_model
from danlu.trained import Trained

__all__ = ["Packaged", "package"]

_TEMPLATES = Path(__file__).with_name("template")
_NEEDS = ("fastapi", "numpy", "onnxruntime", "uvicorn")
_BESIDE = {"text": "a tokenizer", "sound": "a decoder of recordings"}
_PLAIN_MEMORY = 192  # MiB of Python and onnxruntime


@dataclasses.dataclass(frozen=True)
class Packaged:
    """A folder that was written.

    Attributes:
        path: where it is.
        files: their names.
        said: what is to be known of it.
    """

    path: Path
    files: tuple[str, ...]
    said: tuple[str, ...]

    def __str__(self) -> str:
        size = sum((self.path / name).stat().st_size for name in self.files) / 2**20
        return "\n".join([f"{self.path}: {len(self.files)} files, {size:.2g} MiB", *self.said])


def package(model: Trained | str | Path, path: str | Path | None = None, *, license: str = "") -> Packaged:
    """Write a folder with the model as ONNX, a server of one file, and what builds an image of both.

    The file is checked against danlu as by :func:`danlu.export`, and then the server against the file: the answer to an example, which
    is kept beside it.

    Args:
        model: a trained model, or the folder of a run or of a saved model.
        path: the folder, which must not be there yet; None is ``NAME-package`` in the working directory.
        license: what the file says of its licence.

    Raises:
        ConfigError: a model that cannot be written as ONNX, by name; a folder that is there.

    Example:
        >>> import tempfile, danlu
        >>> rows = {"x": [float(i * i % 50) for i in range(60)], "y": ["low", "high"] * 30}
        >>> model = danlu.train(rows, target="y", runs=tempfile.mkdtemp(), display="none", say=lambda line: None,
        ...                     model={"members": 2, "width": 8}, trainer={"epochs": 1}).model
        >>> package(model, Path(tempfile.mkdtemp(), "out")).files
        ('model.onnx', 'server.py', 'requirements.txt', 'Dockerfile', 'kubernetes.yaml', 'kserve.yaml', 'README.md', 'request.json',
        'answer.json')
    """
    needed()
    name = "model" if isinstance(model, Trained) else Path(model).resolve().name
    folder = Path(f"{name}-package") if path is None else Path(path)
    if os.path.lexists(folder):
        raise ConfigError(f"{folder} is there already", hint="remove it, or name another folder with -o")
    trained: Trained = model if isinstance(model, Trained) else load_model(model)
    if not answers_rows(trained):
        raise ConfigError(
            f"the server of a package answers rows, and this is a model for {trained.purpose}",
            hint="danlu export RUN writes its file; danlu serve RUN answers for it",
        )
    if trained.kind in _BESIDE:
        raise ConfigError(
            f"a model for {trained.purpose} needs {_BESIDE[trained.kind]} beside its file, which the server of a package does not have",
            hint="danlu serve RUN answers for it",
        )
    with tempfile.TemporaryDirectory() as place:
        written = export(model, Path(place) / "model.onnx", license=license)  # a run is tried on its own rows
        data = written.path.read_bytes()
    server = (_TEMPLATES / "server.py").read_text(encoding="utf-8")
    request, answer = _tried(server, data, trained)
    label = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:50] or "model"
    values: dict[str, Any] = {
        "name": label,
        "label": label,
        "image": f"{label}:1",
        "purpose": re.sub(r"\s+", " ", trained.purpose),
        "version": danlu.__version__,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "memory": _PLAIN_MEMORY + -(-3 * len(data) // 2**20),
    }
    files = {
        "model.onnx": data,
        "server.py": server.encode(),
        "requirements.txt": _requirements(trained).encode(),
        **{each: _filled(each, values) for each in ("Dockerfile", "kubernetes.yaml", "kserve.yaml", "README.md")},
        "request.json": _json(request),
        "answer.json": _json(answer),
    }
    with whole_folder(folder, error=ConfigError) as new:
        for each, content in files.items():
            (new / each).write_bytes(content)
    said = (*written.said, "the server answers the example as the file does: request.json, answer.json")
    return Packaged(folder, tuple(files), said)


def _filled(name: str, values: dict[str, Any]) -> bytes:
    import jinja2

    text = (_TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")
    return jinja2.Template(text, undefined=jinja2.StrictUndefined, keep_trailing_newline=True).render(values).encode()


def _requirements(trained: Trained) -> str:
    needs = (*_NEEDS, *(["pillow"] if trained.kind in ("image", "multilabel", "segmentation", "detection") else []))
    lines = []
    for each in needs:
        try:
            lines.append(f"{each}=={importlib.metadata.version(each)}")
        except importlib.metadata.PackageNotFoundError:
            lines.append(each)
    return "\n".join(lines) + "\n"


def _tried(server: str, data: bytes, trained: Trained) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An example, and the server's answer to it."""
    with tempfile.TemporaryDirectory() as place:
        file, code = Path(place) / "model.onnx", Path(place) / "server.py"
        file.write_bytes(data)
        code.write_text(server, encoding="utf-8")
        spec = importlib.util.spec_from_file_location("danlu_packaged_server", code)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        model = module.Model(str(file), 1)
    rows = kind_of(trained.encoder).made(trained.encoder, np.random.default_rng(0))
    fed = kind_of(trained.encoder).feed(trained.encoder, rows)
    record = {name: module.plain(values[0]) for name, values in fed.items() if name != "length"}
    return record, model.answer([record])


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
