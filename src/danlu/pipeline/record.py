"""What a finished run leaves to be read: ``results.json`` and ``report.html``."""

from __future__ import annotations

import platform
import shlex
from pathlib import Path
from typing import Any

import jax
import numpy as np

import danlu
from danlu.artifact import RunDirectory
from danlu.nn import summary
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.judge import Judgement
from danlu.pipeline.prepare import Prepared
from danlu.tasks import Learned

__all__ = ["write_record"]

_MISTAKES = 8
_PICTURES = 24
_COLUMNS = 8


def write_record(
    run: RunDirectory,
    config: TrainConfig,
    prepared: Prepared,
    learned: Learned,
    judgement: Judgement | None,
    *,
    seconds: float,
) -> None:
    """Write ``results.json`` and, unless the config says no, ``report.html``."""
    fitted = learned.fitted
    results = {} if judgement is None else judgement.as_dict()
    record = {"rows": prepared.rows, "best_epoch": fitted.best_epoch, "epochs": len(fitted.history)}
    run.write_json("results.json", {**results, **record, "seconds": round(seconds, 2)})
    if not config.evaluate.report:
        return
    from danlu.report import ReportData, describe_columns, write_report

    target, encoder = prepared.target, learned.model.encoder
    layers = summary(learned.model.network, encoder.in_shape)
    facts = {
        "network": type(learned.model.network).__name__,
        "parameters": f"{layers.parameters:,}",
        "epochs": f"{len(fitted.history)}" + ("" if fitted.best_epoch is None else f" (best: {fitted.best_epoch + 1})"),
        "time": f"{seconds:.0f} s",
        "seed": str(config.trainer.seed),
    }
    if fitted.stopped_because:
        facts["ended"] = fitted.stopped_because
    if target.task == "binary" and learned.model.threshold != 0.5:
        facts["threshold"] = f"{learned.model.threshold:.3g}"
    data = ReportData(
        title=run.name,
        target=target.name,
        task=prepared.inferred.task,
        classes=target.classes,
        rows=None if judgement is None else judgement.rows,
        scores={} if judgement is None else judgement.scores,
        others={} if judgement is None else judgement.others,
        comparisons=() if judgement is None else judgement.comparisons,
        history=fitted.history,
        best_epoch=fitted.best_epoch,
        columns=() if prepared.schema is None else describe_columns(prepared.schema, prepared.test_frame),
        model_html=layers._repr_html_(),
        parts=prepared.rows,
        split=prepared.split,
        facts=facts,
        notices=prepared.notices,
        mistakes=_mistakes(prepared, judgement),
        gallery=_gallery(prepared, judgement),
        config=config.as_dict(),
        command=_command(run),
        environment=_environment(),
    )
    write_report(run.report_path, data)


def _gallery(prepared: Prepared, judgement: Judgement | None) -> list[dict[str, str]]:
    """The test images whose true class was given the least probability, as pictures with a caption."""
    if judgement is None or prepared.test is None or not isinstance(prepared.test[0], np.ndarray):
        return []
    from danlu.report import png_uri

    rows, classes, shown = judgement.rows, prepared.target.classes, []
    for row in np.argsort(rows.of_truth, kind="stable")[:_PICTURES]:
        true, chosen = int(rows.truth[row]), int(rows.chosen[row])
        if true == chosen:
            break
        caption = f"{classes[true]}, taken for {classes[chosen]} ({rows.prediction[row, chosen]:.0%})"
        shown.append({"image": png_uri(prepared.test[0][row]), "caption": caption})
    return shown


def _mistakes(prepared: Prepared, judgement: Judgement | None) -> list[dict[str, Any]]:
    """The test rows predicted worst, with their first columns."""
    frame = prepared.test_frame
    if frame is None or judgement is None or prepared.schema is None:
        return []
    rows, target = judgement.rows, prepared.target
    if target.task == "regression":
        size = np.abs(rows.prediction - rows.truth)
    else:
        size = 1 - rows.prediction[np.arange(len(rows.truth)), rows.truth]
    shown = []
    names = [column.name for column in prepared.schema.features][:_COLUMNS]
    for row in np.argsort(-size, kind="stable")[:_MISTAKES]:
        if target.task == "regression":
            line = {"true": f"{rows.truth[row]:.4g}", "predicted": f"{rows.prediction[row]:.4g}"}
        else:
            true, chosen = int(rows.truth[row]), int(rows.chosen[row])
            if true == chosen:
                break
            line = {
                f"true {target.name}": target.classes[true],
                "predicted": target.classes[chosen],
                "probability of the truth": f"{rows.prediction[row, true]:.2g}",
            }
        values = frame.row(int(row), named=True)
        shown.append({**line, **{name: _cell(values[name]) for name in names}})
    return shown


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _command(run: RunDirectory) -> str:
    return f"danlu train --config {shlex.quote(str(Path(run.path) / 'config.json'))}"


def _environment() -> dict[str, str]:
    device = jax.devices()[0]
    return {
        "danlu": danlu.__version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "device": f"{jax.device_count()} × {device.device_kind}",
        "system": f"{platform.system()} {platform.machine()}",
    }
