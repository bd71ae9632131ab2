"""``danlu export``: a trained model for programs without danlu."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from danlu.artifact import RunDirectory
from danlu.data.encode import TableEncoder
from danlu.data.series import Origins
from danlu.engine import Fitted
from danlu.errors import ConfigError, DanluError, unknown_name
from danlu.evaluate.intervals import figure
from danlu.export.called import function_of, tried
from danlu.export.functions import metadata_of
from danlu.export.heads import Answer, spoken_of
from danlu.export.network import network_onnx
from danlu.export.plain import safetensors_of, stablehlo_of
from danlu.export.runtime import needed
from danlu.export.web import check_web, runtime_of, web_page
from danlu.export.written import Checked, checked, kind_of_model, onnx_of
from danlu.files import check_place, write_atomic
from danlu.pipeline import load
from danlu.pipeline.again import settings_of
from danlu.prose import wrapped
from danlu.trained import Trained
from danlu.trained.together import Encoders

__all__ = ["FORMATS", "Exported", "export"]

_ROWS = 1000  # of the run's own table that a file is tried on
_FEW = 100  # pictures, sequences and texts
_SHOWN = 12  # names of inputs that are said
_MOST = 256 * 2**20  # bytes of the data that is read again for that


@dataclasses.dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes:
        path: where it is.
        format: of :data:`FORMATS`.
        outputs: the names of what it answers; empty where it answers arrays.
        trial: how it compared with danlu; None of a format that is not tried.
        said: what is to be known of it.
    """

    path: Path
    format: str
    outputs: tuple[str, ...] = ()
    trial: Checked | None = None
    said: tuple[str, ...] = ()

    def __str__(self) -> str:
        size = self.path.stat().st_size / 2**20
        return "\n".join([f"{self.path}: {size:.2g} MiB", *(wrapped(line) for line in self.said)])


def export(
    model: Any,
    path: str | Path | None = None,
    *,
    format: str = "onnx",
    license: str = "",
    runtime: str | Path | None = None,
    allow: Sequence[str] = (),
) -> Exported:
    """Write a trained model to one file that other programs run.

    - ``"onnx"``: the whole pipeline (columns as they stand in a file, network, probabilities and label) for onnxruntime. It is run
      on rows before it is kept, and its answers are compared with danlu's.
    - ``"web"``: that file within a page of HTML, which has a form and predicts in a browser; it asks no server for anything.
    - ``"stablehlo"``: network and head on encoded rows, for JAX: ``jax.export.deserialize``.
    - ``"safetensors"``: weights, with the blueprint as JSON among its metadata.

    A language model, a translation or an agent is one function in both of the first: a step with its memory, a search, a choice of action.

    Args:
        model: a trained model, the folder of a run or of a saved model, a :class:`danlu.Classifier` or :class:`danlu.Regressor` after its
            ``fit``, or what :func:`danlu.fit` gives: a network, of which the arrays are inputs and the outputs answers.
        path: the file; None is ``NAME.onnx`` (the run's name) in the working directory.
        format: see above.
        license: what the file says of its licence, such as ``"CC-BY-4.0"``.
        runtime: of ``"web"``: the folder of the npm package onnxruntime-web, or one with ``node_modules`` in it; None is the
            working directory.
        allow: modules that the model may import, such as that of an agent's environment.

    Raises:
        ConfigError: a part of the model that the format cannot hold, by name; answers that differ (no file is left); no runtime.

    Example:
        >>> import tempfile, danlu
        >>> rows = {"x": [float(i * i % 50) for i in range(60)], "y": ["low", "high"] * 30}
        >>> model = danlu.train(rows, target="y", runs=tempfile.mkdtemp(), display="none", say=lambda line: None,
        ...                     model={"members": 2, "width": 8}, trainer={"epochs": 1}).model
        >>> found = export(model, Path(tempfile.mkdtemp(), "model.safetensors"), format="safetensors")
        >>> found.path.name
        'model.safetensors'
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    if runtime is not None and format != "web":
        raise ConfigError(
            f"runtime is {str(runtime)!r}, which only a page needs; the format is {format!r}",
            hint="format 'web' writes a page",
        )
    given = {"runtime": runtime_of(runtime)} if format == "web" else {}
    if format in ("onnx", "web"):
        needed()
    run = Path(model) if isinstance(model, str | Path) else None
    name = "model" if run is None else run.resolve().name
    ending = _ENDINGS.get(format, format)
    target = Path(f"{name}.{ending}") if path is None else Path(path)
    if target.is_dir():
        raise ConfigError(f"{target} is a folder; expected the name of a file", hint=f"{target / name}.{ending}")
    trained = _trained(model, allow)
    check_place(target, error=ConfigError)
    if isinstance(trained, Fitted):
        return _network(trained, target, format, license)
    return FORMATS[format](trained, run, target, license, **given)


def _called(trained: Trained, run: Path | None, target: Path, license: str, format: str) -> Exported | None:
    """The file of a model that writes, acts or draws; None of others, which answer rows."""
    function = function_of(trained)
    if function is None:
        return None
    sources = [] if run is None else list(map(str, _sources(run)))
    data, trial, sources_said = tried(function, trained, sources, license, format)
    write_atomic(target, data, error=ConfigError)
    placed = []
    if format == "stablehlo":  # which has no metadata of its own
        place = target.with_suffix(".about.json")
        write_atomic(
            place, json.dumps(metadata_of(function, trained, license), ensure_ascii=False, indent=1), error=ConfigError
        )
        placed.append(f"{place}: what the file takes, answers and is")
    for name, text in function.beside.items():
        place = target.with_suffix(f".{name}.json")
        write_atomic(place, text, error=ConfigError)
        placed.append(f"{place}: the tokenizer, for the library tokenizers; a text is cut by it outside of the file")
    names = tuple(function.outputs)
    takes = f"it takes {_few([each.name for each in function.inputs])}", f"it answers with {_few(names)}"
    return Exported(target, format, names, trial, (*takes, *function.said, *sources_said, *placed))


def _few(names: Sequence[str]) -> str:
    return ", ".join([*map(repr, names[:_SHOWN]), *["…"] * (len(names) > _SHOWN)])


def _trained(model: Any, allow: Sequence[str]) -> Trained | Fitted:
    """The model of a folder, of an estimator, or as it is given."""
    found = load(model, allow=allow) if isinstance(model, str | Path) else getattr(model, "model_", model)
    if isinstance(found, Trained | Fitted):
        return found
    if hasattr(model, "fit"):
        raise ConfigError(f"export() received a {type(model).__name__} that has not learnt yet; call its fit first")
    raise ConfigError(
        f"export() received a {type(model).__name__}; expected a trained model, an estimator after its fit, or a folder"
    )


def _network(fitted: Fitted, target: Path, format: str, license: str) -> Exported:
    if format != "onnx":
        raise ConfigError(
            f"a network that danlu.fit trained on arrays can be written as onnx, not as {format}",
            hint="fitted.save(folder) writes its blueprint and its weights",
        )
    data, inputs, outputs, worst = network_onnx(fitted, license)
    write_atomic(target, data, error=ConfigError)
    said = (
        f"it takes {len(inputs)} input{'s' * (len(inputs) != 1)}: {', '.join(map(repr, inputs))}",
        f"it answers with {', '.join(map(repr, outputs))}",
        f"in onnxruntime no output differs by more than {figure(worst, 2)} of its size",
    )
    return Exported(target, "onnx", outputs, said=said)


def _onnx(trained: Trained, run: Path | None, target: Path, license: str) -> Exported:
    called = _called(trained, run, target, license, "onnx")
    if called is not None:
        return called
    data, answer, trial, tried_on, _ = _tried(trained, run, license)
    write_atomic(target, data, error=ConfigError)
    beside = _beside(trained, target)
    asked = [each["name"] for each in kind_of_model(trained).about(trained.encoder)]
    said = (
        f"it takes {len(asked)} input{'s' * (len(asked) != 1)}: {_few(asked)}",
        f"it answers with {', '.join(map(repr, answer.names))}",
    )
    return Exported(target, "onnx", answer.names, trial, (*said, *tried_on, *beside))


def _web(trained: Trained, run: Path | None, target: Path, license: str, *, runtime: dict[str, bytes]) -> Exported:
    check_web(trained)
    data, answer, trial, tried_on, rows = _tried(trained, run, license)
    write_atomic(target, web_page(trained, data, answer, runtime, rows=rows), error=ConfigError)
    about = "a browser opens it, from the disk or from any server: the model runs within the page, which asks for nothing else"
    return Exported(target, "web", answer.names, trial, (about, *tried_on))


def _tried(trained: Trained, run: Path | None, license: str) -> tuple[bytes, Answer, Checked, tuple[str, ...], Any]:
    """A file of ONNX, what its outputs are, its trial, that in words, and rows of the run's data, where they are still there."""
    data, answer = onnx_of(trained, license)
    trials, sources = zip(*_trials(trained, run), strict=True)
    trial = checked(data, trained, answer, trials)
    told = spoken_of(trained.head).told(answer, figure(trial.difference, 2))
    return data, answer, trial, (*sources, told), trials[0][0] if len(trials) > 1 else None


def _beside(trained: Trained, target: Path) -> tuple[str, ...]:
    """What a program needs beside the file, written next to it, in words."""
    name = kind_of_model(trained).beside
    if not name:
        return ()
    place = target.with_suffix(f".{name}.json")
    write_atomic(place, json.dumps(trained.encoder.state()[0], ensure_ascii=False, indent=1), error=ConfigError)
    return (f"{place}: the tokenizer; a text is cut by it outside of the file",)


def _trials(trained: Trained, run: Path | None) -> Iterator[tuple[Any, str]]:
    """Rows that a file is tried on, each with what they are, in words."""
    kind = kind_of_model(trained)
    source = None if run is None else next((each for each in _sources(run) if each.exists()), None)
    if source is not None:
        try:
            found = trained.read(str(source), lenient=True, say=lambda line: None)
        except DanluError:
            found = None
        if found is not None:
            rows, raw = found.rows, found.rows if found.given is None else found.given
            if isinstance(rows, Origins):  # not only the steps after the last row
                every = Origins.find(rows.table, context=trained.encoder.context, horizon=trained.encoder.horizon)
                rows = raw = every.take(np.arange(0, len(every), -(-len(every) // _FEW) or 1))
            else:
                step = -(-len(rows) // (_ROWS if isinstance(trained.encoder, TableEncoder | Encoders) else _FEW)) or 1
                rows, raw = rows[::step], raw[::step]
            if len(rows):
                yield (rows, raw), f"tried on {len(rows):,} rows of {source.name}"
    made = kind.made(trained.encoder, np.random.default_rng(0))
    yield (made, made), f"tried on {len(made):,} rows that are made up, with odd values"


def _sources(run: Path) -> Iterator[Path]:
    """The data of a run that can be read in a moment, its test's before its own: a folder, a file, or two files by their beginning."""
    if not (run / "config.json").is_file():
        return
    config = settings_of(RunDirectory.open(run))
    for name in (config.data.test, config.data.source):
        if not name:
            continue
        place = Path(name)
        files = (
            [place] if place.is_file() else [each for each in place.parent.glob(f"{place.name}.*") if each.is_file()]
        )
        if place.is_dir() or (files and max(each.stat().st_size for each in files) <= _MOST):
            yield place


def _safetensors(trained: Trained, run: Path | None, target: Path, license: str) -> Exported:
    write_atomic(target, safetensors_of(trained, license), error=ConfigError)
    count = sum(np.size(leaf) for leaf in jax.tree.leaves(trained.params))
    return Exported(
        target, "safetensors", said=(f"{count:,} parameters; the blueprint is JSON among the file's metadata",)
    )


def _stablehlo(trained: Trained, run: Path | None, target: Path, license: str) -> Exported:
    called = _called(trained, run, target, license, "stablehlo")
    if called is not None:
        return called
    write_atomic(target, stablehlo_of(trained), error=ConfigError)
    said = (
        "takes encoded rows, as model.encoder.transform gives them, any number of them: jax.export.deserialize(data).call(inputs)",
    )
    return Exported(target, "stablehlo", said=said)


FORMATS: dict[str, Callable[..., Exported]] = {
    "onnx": _onnx,
    "safetensors": _safetensors,
    "stablehlo": _stablehlo,
    "web": _web,
}
_ENDINGS = {"web": "html"}
