"""``danlu explain``: why a model answers as it does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from danlu.data.fields import check_records
from danlu.errors import ConfigError
from danlu.explained import Asked, Explanations, Overview, changes_of
from danlu.pipeline.background import kept_background, read_background
from danlu.pipeline.domains import DOMAINS, load_model
from danlu.pipeline.overview import check_unused, overview
from danlu.trained import Read, Say, Trained
from danlu.trained.read import warn

__all__ = ["explain", "explain_records", "rows_asked"]

_FIRST = 5  # rows of a file that are explained where nothing is said of them


def explain(
    model: Any,
    source: Any = None,
    *,
    rows: Sequence[int] | str | None = None,
    method: str = "auto",
    of: str | None = None,
    scale: str = "auto",
    exact: bool | None = None,
    keep: Sequence[str] | str = (),
    to: str | None = None,
    changes: int = 3,
    influence: int = 0,
    background: Any = None,
    columns: Sequence[str] | str = (),
    lenient: bool = False,
    say: Say = warn,
    seed: int = 0,
    allow: Sequence[str] = (),
) -> Explanations | Overview:
    """Why the model answers each of some rows as it does; without rows, what it does in general.

    What is explained is what ``predict`` answers: of a blend the whole blend, calibrated. The parts of a row add up to its score less a
    base, which is checked and said.

    Args:
        model: a run's folder, a trained model, what ``danlu.train`` gave, or a fitted :class:`danlu.Classifier` or
            :class:`danlu.Regressor` (which need ``background``).
        source: the rows, as ``predict`` takes them; None explains a model of a table as a whole, for which only ``of``, ``scale``,
            ``background``, ``columns``, ``seed`` and ``allow`` count.
        rows: which of them, counted from 1: numbers, or a text such as ``"1,4-6"``; None is the first five.
        method: ``"shapley"`` (tables), ``"gradients"`` (integrated gradients of the network) or ``"smoothgrad"``; ``"auto"`` is Shapley
            values of a table, and integrated gradients of anything else.
        of: the class to explain; None is the one that is answered (of a model as a whole the second of two classes, of several the one
            that is answered most).
        scale: ``"probability"`` or ``"log-odds"``; ``"auto"`` is the probability. Gradients explain what the network computes.
        exact: whether Shapley values look at all coalitions of up to 12 columns, whatever that takes; None samples where it takes long.
        keep: columns that are not to be changed to get another answer.
        to: the answer to be reached by changes: a class; of a quantity ``">=200"`` or ``"<=200"``. None is any other class.
        changes: columns that are changed for that at most; 0 looks for no changes.
        influence: training rows of a table that are shown as those that moved the answer most; 0 looks for none.
        background: rows like those of the training, where the run keeps none.
        columns: of a model as a whole, whose curves and pairs are looked at; none: the strongest.
        lenient: as of ``predict``.
        say: called with each notice.
        seed: decides what is drawn.
        allow: as of :func:`danlu.load`.

    Returns:
        An :class:`~danlu.explained.Explanations`: a sequence that prints, shows itself in a notebook, and writes HTML and JSON. Of a model
        as a whole an :class:`~danlu.explained.Overview`, which does the same.

    Raises:
        ConfigError: a kind of model that is not explained, or what it does not take.
        SchemaError: rows that do not fit.

    Example:
        >>> import tempfile, danlu
        >>> rows = {"x": [float(i) for i in range(60)], "y": ["low", "high"] * 30}
        >>> run = danlu.train(rows, target="y", runs=tempfile.mkdtemp(), display="none", say=lambda line: None,
        ...                   model={"kind": "network", "members": 2, "width": 8}, trainer={"epochs": 1}).run
        >>> found = explain(run.path, {"x": [3.0]})[0]
        >>> found.parts[0].name, abs(found.gap) < 1e-9
        ('x', True)
    """
    trained, folder = _model(model, allow)
    reader: Any = trained.reader
    wanted = _names(columns)
    if source is None:
        check_unused(
            rows=rows,
            method=method,
            exact=exact,
            keep=keep,
            to=to,
            changes=changes,
            influence=influence,
            lenient=lenient,
        )
    elif wanted:
        raise ConfigError(
            "columns would not be used: they are of a model as a whole, without rows", hint="leave it out"
        )
    elif not reader.explains:
        raise reader.no_explanation(trained)
    learnt = background is None
    if not learnt:
        compared, truth = read_background(trained, _table(trained, background), say)
    else:
        compared = None if folder is None else kept_background(folder)
        truth = compared[trained.head.name] if compared is not None and trained.head.name in compared.columns else None
    if source is None:
        whole = Asked(of=of, scale=scale, background=compared, truth=truth, learnt=learnt, seed=seed)
        return overview(trained, folder, whole, wanted)
    given = trained.read(_table(trained, source), lenient=lenient, say=say)
    chosen = rows_asked(rows, len(given.rows), say)
    names = tuple(str(given.names[int(place)]) if given.names is not None else f"row {place + 1}" for place in chosen)
    asked = Asked(
        method=method,
        of=of,
        scale=scale,
        exact=exact,
        keep=_names(keep),
        to=to,
        changes=changes,
        influence=influence,
        background=compared,
        truth=truth,
        learnt=learnt,
        names=names,
        seed=seed,
    )
    each = reader.explain(trained, dataclasses.replace(given, rows=_taken(given, chosen)), asked)
    return Explanations(each, _title(trained, folder, source))


def explain_records(
    trained: Trained,
    records: Sequence[Mapping[str, Any]],
    *,
    background: Any = None,
    of: str | None = None,
    keep: Sequence[str] = (),
    to: str | None = None,
    changes: int = 3,
    attributions: bool = True,
    say: Say = warn,
) -> list[dict[str, Any]]:
    """Why the model answers each record as it does, both as plain data: what a service answers.

    Of training rows only what is made of many of them is told: none of them is shown.

    Args:
        background: training rows as the encoder takes them, which a table needs; see :func:`~danlu.pipeline.background.kept_background`.
        of, keep, to, changes: as of :func:`explain`.
        attributions: whether it is said what each part added; without them a table's changes alone are looked for.
        say: called with each notice.

    Returns:
        For each record what :meth:`Explained.as_dict <danlu.explained.Explained.as_dict>` gives; without attributions its
        ``"counterfactuals"`` alone.

    Raises:
        ConfigError: a kind of model that is not explained, or what it does not take.
        SchemaError: records that do not fit.
    """
    reader: Any = trained.reader
    if not reader.explains:
        raise reader.no_explanation(trained)
    schema = getattr(trained.encoder, "schema", None)
    if schema is None and not attributions:
        raise ConfigError(
            "without attributions there is nothing to say here: changes are looked for in the columns of tables"
        )
    for notice in check_records(records, trained.fields, () if schema is None else schema.names):
        say(notice)
    rows = trained.encoder.rows(records, say)
    asked = Asked(
        of=of,
        keep=_names(keep),
        to=to,
        changes=changes if schema is not None else 0,
        background=background,
        alike=False,
        names=tuple(f"record {number}" for number in range(1, len(records) + 1)),
    )
    if not attributions:
        return [
            {"row": name, "counterfactuals": each}
            for name, each in zip(asked.names, changes_of(trained, rows, asked), strict=True)
        ]
    return [each.as_dict() for each in reader.explain(trained, Read(rows), asked)]


def _model(model: Any, allow: Sequence[str]) -> tuple[Trained, Path | None]:
    """The trained model, and the folder of its run where there is one."""
    folder: Path | None = None
    if isinstance(model, str | Path):
        model, folder = load_model(model, allow=allow), Path(model)
    elif isinstance(getattr(model, "model", None), Trained):  # what training gave
        model, folder = model.model, Path(model.run.path)
    elif isinstance(getattr(model, "model_", None), Trained):  # an estimator's
        model = model.model_
    if not isinstance(model, Trained):
        raise ConfigError(
            f"danlu.explain received a {type(model).__name__}; expected the folder of a run, a trained model, what danlu.train gave, "
            "or a fitted Classifier or Regressor"
        )
    if model.reader is None:
        kind = model.kind
        model = dataclasses.replace(model, reader=next(domain for domain in DOMAINS if domain.kind == kind))
    return model, folder


def _table(trained: Trained, source: Any) -> Any:
    """An array of a table's columns as a frame; anything else as it is.

    Raises:
        ConfigError: another number of columns.
    """
    if trained.kind != "table" or not isinstance(source, np.ndarray):
        return source
    names = [column.name for column in trained.encoder.schema.features]
    if source.ndim != 2 or source.shape[1] != len(names):
        raise ConfigError(
            f"the rows are an array of shape {source.shape}; expected (rows, {len(names)}): {', '.join(names)}"
        )
    return {name: source[:, place].tolist() for place, name in enumerate(names)}


def rows_asked(rows: Sequence[int] | str | None, count: int, say: Say = warn) -> np.ndarray:
    """The places, from 0, of the rows that were asked for.

    Raises:
        ConfigError: what is no row.

    Example:
        >>> rows_asked("1,3-4", 10).tolist(), rows_asked([2], 10).tolist()
        ([0, 2, 3], [1])
    """
    if rows is None:
        if count > _FIRST:
            say(f"the first {_FIRST} of {count:,} rows are explained; --rows says which (in Python rows=[1, 7])")
        return np.arange(min(count, _FIRST))
    wanted: list[int] = []
    try:
        for piece in rows.split(",") if isinstance(rows, str) else map(str, rows):
            low, dash, high = piece.strip().partition("-")
            wanted += range(int(low), int(high if dash else low) + 1)
    except ValueError:
        raise ConfigError(f"the rows are {rows!r}; expected numbers from 1, such as 1,4-6") from None
    bad = [row for row in wanted if not 1 <= row <= count]
    if bad or not wanted:
        raise ConfigError(f"there is no row {bad[0] if bad else '(none was named)'}; the data has rows 1 to {count:,}")
    return np.array(wanted) - 1


def _names(given: Sequence[str] | str) -> tuple[str, ...]:
    return tuple(name.strip() for name in given.split(",") if name.strip()) if isinstance(given, str) else tuple(given)


def _taken(given: Read, rows: np.ndarray) -> Any:
    if isinstance(given.rows, list | tuple):
        return [given.rows[int(row)] for row in rows]
    return given.rows[rows]


def _title(trained: Trained, folder: Path | None, source: Any) -> str:
    of = f"{trained.head.name or trained.purpose}" + (f" by {folder.name}" if folder is not None else "")
    return f"Why {of}" + (f": {Path(source).name}" if isinstance(source, str | Path) else "")
