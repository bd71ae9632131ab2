"""From a table to a trained model in a run directory: read, split, encode, train, measure, save."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import jax
import polars as pl

from danlu.artifact import RunDirectory, save_artifact
from danlu.data import InferredTask, Schema, TableEncoder, drop_missing_target, infer_schema, infer_task, read_table
from danlu.data.split import Split, split_rows
from danlu.engine import Fitted, JSONLogger, fit
from danlu.errors import ConfigError, unknown_name
from danlu.nn.losses import class_weights, example_weights
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.scores import score
from danlu.tasks import Recipe, TableTask, recipe

__all__ = ["TrainResult", "train_table"]


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a training run made."""

    run: RunDirectory
    fitted: Fitted
    schema: Schema
    inferred: InferredTask
    task: TableTask
    scores: dict[str, float]
    rows: dict[str, int]
    seconds: float


@dataclasses.dataclass(frozen=True)
class _Parts:
    """The rows of the three parts, and the schema of the whole."""

    train: pl.DataFrame
    validation: pl.DataFrame
    test: pl.DataFrame
    schema: Schema
    inferred: InferredTask


def _read(config: TrainConfig, say: Callable[[str], None]) -> _Parts:
    data = config.data
    header: bool | str = {"auto": "auto", "yes": True, "no": False}[data.header]
    table = read_table(data.source, delimiter=data.delimiter, header=header)
    if not data.target:
        raise ConfigError(
            f"no target was named; {data.source} has the columns: {', '.join(table.names[:30])}",
            hint="name the column to predict: --target COLUMN",
        )
    if data.target not in table.names:
        raise unknown_name("target column", data.target, table.names)
    frame, dropped = drop_missing_target(table.frame, data.target)
    inferred = infer_task(frame[data.target], task=None if data.task == "auto" else data.task)
    schema = infer_schema(frame, target=data.target, kinds=data.kinds, drop=data.drop)
    for notice in (*table.notices, *dropped, *inferred.notices):
        say(f"note: {notice}")
    separate = None
    if data.test is not None:
        other = read_table(data.test, delimiter=data.delimiter, header=header)
        absent = [name for name in frame.columns if name not in other.names]
        if absent:
            raise ConfigError(f"the test file {data.test} lacks the columns: {', '.join(absent)}")
        separate, _ = drop_missing_target(other.frame.select(frame.columns), data.target)
    split = split_rows(
        frame,
        method=config.split.method,
        column=config.split.column,
        target=data.target,
        task=inferred.task,
        validation=config.split.validation,
        test=0.0 if separate is not None else config.split.test,
        seed=config.trainer.seed,
    )
    return _parts(frame, split, separate, schema, inferred)


def _parts(
    frame: pl.DataFrame, split: Split, separate: pl.DataFrame | None, schema: Schema, inferred: InferredTask
) -> _Parts:
    return _Parts(
        train=frame[split.train],
        validation=frame[split.validation],
        test=frame[split.test] if separate is None else separate,
        schema=schema,
        inferred=inferred,
    )


def _plan(config: TrainConfig, task: TableTask, encoder: TableEncoder, rows: int) -> Recipe:
    shapes = encoder.in_shape
    chosen = {
        name: value
        for name in ("epochs", "batch_size", "patience", "learning_rate", "weight_decay")
        if (value := getattr(config.trainer, name)) is not None
    }
    plan = recipe(
        task.task,
        rows,
        numeric=shapes["numeric"][0] if "numeric" in shapes else 0,
        vocabularies=encoder.cardinalities,
        text=shapes["text"][0] if "text" in shapes else 0,
        classes=max(2, len(task.classes)),
        **chosen,
    )
    network = {
        name: value
        for name in ("members", "width", "depth", "dropout")
        if (value := getattr(config.model, name)) is not None
    }
    return plan.replace(model=plan.model.replace(**network)) if network else plan


def train_table(
    config: TrainConfig,
    *,
    root: str | Path = "runs",
    name: str | None = None,
    display: str = "auto",
    say: Callable[[str], None] = print,
    resume: RunDirectory | None = None,
) -> TrainResult:
    """Train a model on a table and leave it, with its record, in a new run directory.

    Everything that is fitted (encoder, target, bins) is fitted on the training rows only; the validation rows choose the
    best epoch; the test rows are used once, for the scores.

    Args:
        config: what to do.
        root: the folder of the runs.
        name: the run's name (default: the data's name and the time).
        display: see :class:`danlu.engine.FitOptions`.
        say: called with each line for the user.
        resume: the run to go on with, instead of a new one; its ``config`` must be the one given.

    Raises:
        DanluError: input that cannot be used; one clear message.
    """
    begun = time.perf_counter()
    parts = _read(config, say)
    say(str(parts.schema))
    say(str(parts.inferred))
    target = config.data.target
    task = TableTask.fit(parts.inferred, parts.train[target])
    encoder = TableEncoder.fit(parts.train, parts.schema)
    inputs, labels = encoder.transform(parts.train), task.encode(parts.train[target])
    plan = _plan(config, task, encoder, parts.train.height)
    run = resume or RunDirectory.create(root, name=name, dataset=Path(config.data.source).stem, config=config.as_dict())
    weights = None
    if config.trainer.class_weight == "balanced":
        if task.task == "regression":
            raise ConfigError("class weights are for classification; this target is a quantity")
        weights = example_weights(labels, class_weights(labels, len(task.classes)))
    fitted = fit(
        plan.model,
        (inputs, labels, weights),
        loss=plan.loss,
        optimizer=plan.optimizer(parts.train.height),
        validation=(encoder.transform(parts.validation), task.encode(parts.validation[target])),
        metrics=[task.metric],
        callbacks=[JSONLogger(run.metrics_path)],
        initial=plan.initial(jax.random.key(config.trainer.seed), inputs),
        checkpoint=run.checkpoints_path,
        resume=resume is not None,
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        patience=plan.patience,
        seed=config.trainer.seed,
        display=display,
    )
    truth = parts.test[target]
    prediction = task.predict(fitted.predict(encoder.transform(parts.test))) if parts.test.height else None
    scores = {} if prediction is None else score(task, truth, prediction)
    rows = {name: getattr(parts, name).height for name in ("train", "validation", "test")}
    description, arrays = encoder.state()
    save_artifact(
        run.artifact_path,
        model=plan.model,
        variables=(fitted.params, fitted.state),
        task=task.to_json(),
        schema=parts.schema.to_json(),
        encoder=description,
        encoder_arrays=arrays,
        classes=task.classes,
        metrics=scores,
        provenance={"rows": rows, "source": Path(config.data.source).name},
    )
    if prediction is not None:
        task.frame(prediction).write_csv(run.predictions_path)
    run.write_json("results.json", {"test": scores, "rows": rows, "best_epoch": fitted.best_epoch})
    return TrainResult(run, fitted, parts.schema, parts.inferred, task, scores, rows, time.perf_counter() - begun)
