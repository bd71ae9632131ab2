"""Tables: read, typed, divided and encoded, in memory or as a stream."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.auditing import Audit
from danlu.blueprint import Blueprint
from danlu.data import (
    Schema,
    Table,
    TableEncoder,
    TargetEncoder,
    check_frame,
    drop_missing_target,
    has_target,
    infer_schema,
    infer_task,
    leakage,
    open_stream,
    read_table,
)
from danlu.data.describe import repeated_ids, told_of
from danlu.data.spelling import match_names, merge_spellings
from danlu.data.split import copies_of
from danlu.data.twins import equal_rows
from danlu.errors import ConfigError, DataError, SchemaError, unknown_name
from danlu.evaluate import Importance, Rows, permutation_importance, related_columns
from danlu.evaluate.intervals import figure
from danlu.evaluate.judgement import Judgement
from danlu.explained import Asked, Explained, explain_table
from danlu.nn.scorecard import Scorecard
from danlu.nn.table_embeddings import NumericEmbedding
from danlu.pipeline.agreed import agreed_encoders
from danlu.pipeline.background import drawn
from danlu.pipeline.config import DataConfig, SplitConfig, TrainConfig
from danlu.pipeline.converted import as_parquet, is_plain_text, is_streamed
from danlu.pipeline.divided import HELD, together_of
from danlu.pipeline.domain import Beside, Option, Simple
from danlu.pipeline.joined import FILE, files_of_clients, joined_files
from danlu.pipeline.labelled import Encoded, Labelled, PreparedRows, row_in_words
from danlu.pipeline.owners import Owners, column_of
from danlu.pipeline.private import Looks
from danlu.pipeline.scorecards import CARD, default_beside, finished_card, is_card, plan_card, with_card
from danlu.pipeline.sensitive import GROUPED, SENSITIVE, Sensitive
from danlu.pipeline.sheets import audit_source, quick_audit, quick_audit_of_sample, sheet_of
from danlu.pipeline.space import Place
from danlu.pipeline.used import COMMON, CROSSED, RECIPE, WRITTEN, check_columns, with_notices
from danlu.privacy import Ledger
from danlu.tasks import CardSettings, Fair, Recipe, fold_numbers, folds_for, plan_for
from danlu.trained import Learned, Read, Say, Trained
from danlu.trained.sensitive import column_of as sensitive_column
from danlu.trained.sensitive import sliced_columns

__all__ = ["Tables", "worst_rows"]

_MISTAKES = 8
_FEW_NUMBERS = NumericEmbedding(
    2, bins=8, frequencies=0, gain=1.0
)  # of private tables: bends at few places, and no waves
_COLUMNS = 8
_RELATED_ROWS = 5000  # from which it is seen what columns tell much the same


class Tables(Labelled):
    """Rows of named columns."""

    kind = "table"
    noun = "tables"
    encoder = TableEncoder
    uses = (
        *COMMON,
        RECIPE,
        WRITTEN,
        "answers.*",
        "data.audit|positive|spellings|stream|target|task",
        "evaluate.baseline_seconds|importance|slices",
        CROSSED,
        "fairness.*",
        "federated.*",
        "imbalance.*",
        "model.*",
        "private.*",
        "scorecard.*",
        "split.*",
        "trainer.adversarial|loss|minutes|snapshots",
    )
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {
        **Labelled.sections,
        "fairness": Fair,
        "scorecard": CardSettings,
    }
    options = (
        *Labelled.options,
        SENSITIVE,
        Option(
            "--minutes",
            "trainer.minutes",
            "How long a table is learnt from: more networks and trees join the blend.",
            float,
        ),
    )
    beside = (
        Beside(
            "trainer.minutes",
            lambda config: config.model.kind in (None, "blend"),
            "more networks and trees join a blend, and this model is none",
        ),
        *Labelled.beside,
        *GROUPED,
        *CARD,
    )
    instead: ClassVar[Mapping[str, str]] = {
        "data.time": "to test on the latest rows: split.method=time split.column=COLUMN; to forecast: --forecast COLUMN",
        "data.series": "to keep rows of one person together: split.method=group split.column=COLUMN",
        "forecast.horizon": "add --forecast COLUMN to forecast it",
        "generate.model": "--synthesize draws new rows of a table",
    }

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return True

    def prepare(self, config: TrainConfig, source: Any) -> PreparedRows:
        streamed = is_streamed(config.data, source) and not config.federated.active
        return (_streamed if streamed else _in_memory)(config, source)

    def next_steps(self, trained: Trained, run: str, source: str) -> tuple[tuple[str, ...], ...]:
        files = files_of_clients(source)
        more = (("scorecard", run),) if isinstance(trained.network, Scorecard) else ()
        return (*super().next_steps(trained, run, str(files[0]) if files else source), *more)

    def for_trial(self, config: TrainConfig) -> TrainConfig:
        return config.with_setting("model.kind", "network").with_setting("trainer.minutes", None)

    def space(self, config: TrainConfig, plan: Recipe) -> Mapping[str, Place]:
        if is_card(config):
            raise ConfigError(
                "danlu tune looks for better settings of networks, and a scorecard has none of these",
                hint="train it with other settings: scorecard.bins=5, scorecard.share=0.1",
            )
        return super().space(config, plan)

    def audit(self, config: TrainConfig, source: Any, *, against: Any, at: str | None, label_errors: bool) -> Audit:
        return audit_source(config, source, against=against, at=at, label_errors=label_errors)

    def plan(self, config: TrainConfig, prepared: PreparedRows) -> Recipe:
        chosen = "imbalance.threshold" if config.imbalance.threshold != "none" else ""
        chosen = "answers.cost" if config.answers.cost else chosen
        chosen = "answers.alert_rate" if config.answers.alert_rate is not None else chosen
        config.fairness.check(prepared.target.task, decided=chosen, crossed=config.evaluate.folds is not None)
        if config.fairness.mitigate == "penalty" and (
            config.model.kind == "blend" or config.trainer.minutes is not None
        ):
            raise ConfigError(
                "fairness.mitigate=penalty is a part of what a network is trained by; the other parts of a blend have none",
                hint="model.kind=network, or fairness.mitigate=reweigh",
            )
        if config.trainer.adversarial is not None and (
            config.model.kind == "blend" or config.trainer.minutes is not None
        ):
            raise ConfigError(
                "trainer.adversarial changes what a network is trained on; the other parts of a blend have no gradient",
                hint="model.kind=network",
            )
        return super().plan(config, prepared)

    def recipe(self, config: TrainConfig, prepared: PreparedRows) -> Recipe:
        if is_card(config):
            return plan_card(config, prepared)
        chosen = config.decided("members", "width", "depth", "dropout", "loss")
        if prepared.folds is not None:
            chosen["folds"] = int(prepared.folds.max()) + 1
        if (
            config.private.on
        ):  # each parameter gets as much noise, so there are few, and the mean of many steps has less of it
            few = {"members": 1, "width": 32, "depth": 1, "dropout": 0.0, "numeric": _FEW_NUMBERS}
            chosen = {**few, "average": "ema", **chosen}
        return plan_for(prepared.encoder, prepared.target, prepared.rows["train"], **chosen)

    def learn(self, config: TrainConfig, prepared: PreparedRows, plan: Recipe, **how: Any) -> Learned:
        own = functools.partial(super().learn, config, prepared, plan, **how)
        return finished_card(config, prepared, own) if is_card(config) else own()

    def simple(self, config: TrainConfig, prepared: PreparedRows, trained: Trained, ours: Any) -> Iterable[Simple]:
        yield from super().simple(config, prepared, trained, ours)
        yield from default_beside(config, prepared, trained, ours)

    def rows(self, trained: Trained, source: Any, *, lenient: bool, say: Say) -> Read:
        encoder, target = trained.encoder, trained.head.target
        table, name = read_table(source, typed=False), target.name
        checked, notices = check_frame(table.frame, encoder.schema, lenient=lenient)
        for notice in (*table.notices, *notices):
            say(notice)
        for field in trained.head.needs:  # a threshold of the row's group goes by it
            if field.name not in table.frame.columns:
                raise SchemaError(
                    f"the data lacks the column {field.name!r}, by whose groups the model decides",
                    hint="give it as well; the model does not see it",
                )
            checked = checked.with_columns(sensitive_column(table.frame, field.name, encoder.schema))
        return Read(checked, checked[name] if name in checked.columns else None, given=table.frame)

    def explain(self, trained: Trained, found: Read, asked: Asked) -> list[Explained]:
        return explain_table(trained, found.rows, asked)

    def importance(
        self, config: TrainConfig, prepared: PreparedRows, trained: Trained, rows: Rows
    ) -> tuple[Importance, ...]:
        frame, schema = prepared.shown, prepared.schema
        if frame is None or schema is None:  # the test rows of a stream are kept encoded
            return ()
        names = [column.name for column in schema.features]
        limit = config.evaluate.baseline_seconds
        return permutation_importance(
            trained.answer_rows,
            frame,
            rows,
            names,
            groups=related_columns(frame.head(_RELATED_ROWS), names),
            seconds=None if limit is None else limit / 4,
            seed=config.trainer.seed,
        )

    def sliced(self, prepared: PreparedRows) -> pl.DataFrame | None:
        if prepared.shown is None or prepared.schema is None:
            return None
        more = () if prepared.sensitive is None else prepared.sensitive.names
        found = sliced_columns(prepared.shown, prepared.schema, prepared.target.name, more)
        return found if found.width else None  # of texts alone there are no slices

    def report(self, prepared: PreparedRows, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        return with_card(super().report(prepared, trained, judgement), trained)

    def mistakes(self, prepared: PreparedRows, trained: Trained, rows: Rows) -> dict[str, Any]:
        if prepared.shown is None:
            return {"mistakes": []}
        return worst_rows(prepared.shown, prepared, rows)


def worst_rows(frame: pl.DataFrame, prepared: PreparedRows, rows: Rows) -> dict[str, Any]:
    """The field of the report with the test rows predicted worst, and their first columns in ``frame``."""
    if prepared.schema is None:
        return {"mistakes": []}
    first = frame.select(column.name for column in prepared.schema.features[:_COLUMNS])
    worst = [
        (row_in_words(rows, row, prepared.target), first.row(row, named=True)) for row in rows.worst(_MISTAKES).tolist()
    ]
    return {"mistakes": [told | {name: _cell(value) for name, value in shown.items()} for told, shown in worst]}


def _read(source: Any, data: DataConfig, *, typed: bool = True) -> Table:
    return read_table(source, missing=data.marks(), kinds=data.kinds, dates=data.dates, typed=typed, **data.form())


def _named_target(data: DataConfig, what: str, names: Any) -> str:
    if not data.target:
        raise ConfigError(
            f"no target was named; {what} has the columns: {', '.join(list(names)[:30])}",
            hint="name the column to predict: --target COLUMN",
        )
    if data.target not in names:
        raise unknown_name("target column", data.target, names)
    return data.target


def _in_memory(config: TrainConfig, source: Any) -> PreparedRows:
    data = config.data
    files = files_of_clients(source) if config.federated.by == FILE else []
    table = joined_files(files, lambda file: _read(file, data)) if files else _read(source, data)
    name = _named_target(data, table.source or "the table", table.names)
    check_columns(data, table.names)
    numbers = np.flatnonzero(has_target(table.frame[name]).to_numpy())  # of the rows in the source
    frame, dropped = drop_missing_target(table.frame, name, table.met.get(name, ()))
    merge = data.spellings == "merge"
    if merge:
        labels, respelt = merge_spellings(frame[name])
        frame, dropped = frame.with_columns(labels), (*dropped, *respelt)
    try:
        inferred = infer_task(frame[name], task=None if data.task == "auto" else data.task)
    except DataError as error:  # what was said of the target may be the reason
        about = (f"column {name}:", f"target {name} ")
        told = [notice for notice in (*table.notices, *dropped) if any(part in notice for part in about)]
        raise with_notices(error, told) from error
    notices = [*table.notices, *dropped, *inferred.notices]
    drop = data.drop
    if config.split.method in ("group", "column") and config.split.column not in (None, *drop):
        drop = (*drop, str(config.split.column))
        notices.append(f"column {config.split.column!r} defines the split and is not used as an input")
    whose = column_of(frame, config.federated, name)
    classes = frame[name] if inferred.task != "regression" else None
    owners = Owners.of(config, frame.height, classes, whose)
    if whose is not None and whose.name not in drop:
        drop = (*drop, whose.name)
        notices.append(f"column {whose.name!r} says whose a row is and is not used as an input")
    sensitive = Sensitive.of(config.fairness, frame, name)
    if sensitive is not None and not config.fairness.as_input:
        drop = (*drop, *(column for column in sensitive.names if column not in drop))
        notices.append(sensitive.kept_out)
    schema = infer_schema(frame, target=name, kinds=data.kinds, drop=drop, formats=table.formats, merge=merge)
    schema = schema if sensitive is None else sensitive.marked(schema)
    notices += told_of(frame, schema)
    seen = [column.name for column in schema.features]
    if config.split.method == "stratified":
        notices += repeated_ids(frame, seen)
    tested = config.tested_share
    together, said = together_of(config, frame.select(seen), config.split.validation, tested, besides="the target")
    notices += said
    how: dict[str, Any] = {
        "method": config.split.method,
        "column": config.split.column,
        "target": name,
        "task": inferred.task,
        "test": tested,
        "together": together,
    }
    if owners is None:
        split = config.divide(frame, **how)
    else:
        split, few = owners.divide(config, frame, **how)
        owners = owners.parted(split.train, split.validation, split.test)
        notices += [str(owners), *few]
    if not len(split.validation):
        raise DataError(
            f"the split left no validation rows ({split})", hint="give more rows, or a larger split.validation"
        )
    if together is None and not said:
        notices += leakage(frame.select([*seen, name]), split)
    count = (
        1
        if owners is not None or config.private.on or is_card(config)
        else _folds(config, len(split.train) + len(split.validation))
    )
    folds, refold, description = None, None, split.description
    if count > 1:
        split = dataclasses.replace(split, train=np.union1d(split.train, split.validation), validation=split.train[:0])
        description += f"; {count} networks, each validated on a part of the training rows that it did not see"
    train, validation, test = (frame[rows] for rows in (split.train, split.validation, split.test))
    fitted_on, looks = (train if inferred.task == "regression" else frame), None
    if config.private.on:
        named = () if inferred.task == "regression" else TargetEncoder.fit(frame[name], task=inferred.task).classes
        looks = Looks.at(train, schema, name, named, config.private)
        schema = looks.schema(schema, name, config.private)
        notices.append(looks.said)
        fitted_on = looks.frame if inferred.task == "regression" else frame
    target = TargetEncoder.fit(fitted_on[name], task=inferred.task).looking_for(data.positive)
    if inferred.task == "regression":
        notices += _far(fitted_on[name])
    if sensitive is not None:
        sensitive = sensitive.divided(frame, split)
    if data.test is not None:
        test, more = _separate(data, frame.columns, schema, target, sensitive)
        owners = _tested_owners(owners, frame[name][split.train], test, name, config, classes is not None)
        notices += [*more, *copies_of(train.select([*seen, name]), test.select([*seen, name]), "test")]
    found = (
        quick_audit(sheet_of(table, schema, frame, target, numbers)) if data.audit and not config.private.on else None
    )
    notices += [str(each) for each in found.alarms] if found is not None else []
    if (
        owners is None or looks is not None
    ):  # noisy counts of all clients' rows, each of which counts them in its ledger
        encoder = TableEncoder.fit(train if looks is None else looks.frame, schema)
    else:
        encoder, target, owners, agreed = agreed_encoders(train, schema, target, owners)
        notices += agreed
    if count > 1:
        own = None if together is None else equal_rows(together[split.train].tolist())
        codes = target.transform(train[name])
        refold = functools.partial(fold_numbers, codes, inferred.task, count, together=own)
        folds = refold(seed=config.trainer.seed)

    def encoded(part: pl.DataFrame) -> Encoded:
        return encoder.transform(part), target.transform(part[name])

    return PreparedRows(
        schema=schema,
        inferred=inferred,
        target=target,
        encoder=encoder,
        train=encoded(train),
        validation=encoded(validation) if validation.height else None,
        folds=folds,
        refold=refold,
        test=encoded(test) if test.height else None,
        shown=test,
        background=None
        if owners is not None and owners.hidden
        else drawn((train if looks is None else looks.frame).select([*seen, name]), config.trainer.seed),
        spent=Ledger() if looks is None else looks.ledger,
        public=None if looks is None else encoder.transform(looks.frame),
        places=numbers[split.test] if data.test is None else None,
        learnt=numbers[split.train],
        rows={"train": train.height, "validation": validation.height, "test": test.height},
        split=description,
        notices=tuple(notices),
        owners=owners,
        sensitive=sensitive if data.test is None or sensitive is None else sensitive.tested(test),
        audit=found,
    )


def _tested_owners(
    owners: Owners | None, learnt: pl.Series, test: pl.DataFrame, name: str, config: TrainConfig, classes: bool
) -> Owners | None:
    """The clients of the rows of a test file: as its column says, or shared out as the clients' own rows are."""
    if owners is None:
        return None
    by = config.federated.by
    if by in test.columns:
        known = {value: number for number, value in enumerate(owners.names)}
        return owners.tested(np.array([known.get(str(value), -1) for value in test[by]], np.int32))
    own, asked = (np.asarray([str(v) for v in each]) for each in (learnt, test[name]))
    shared = owners.like(own if classes else None, asked if classes else None, test.height, config.trainer.seed)
    return owners.tested(shared)


def _far(target: pl.Series) -> list[str]:
    """A note where a few values of a quantity are so large that the squared error is theirs alone."""
    values = target.cast(pl.Float64).to_numpy()
    low, middle, high = np.quantile(values, [0.02, 0.5, 0.98])
    far = int(np.count_nonzero(np.abs(values - middle) > 20 * max(high - low, 1e-300)))
    if not far or high == low:
        return []
    return [
        f"{far} value{'s' * (far > 1)} of the target {target.name!r} {'are' if far > 1 else 'is'} far beyond the others (the middle 96 % "
        f"lie in {low:.4g} to {high:.4g}); remove what is a mistake; trainer.loss=huber gives the rest less weight"
    ]


def _folds(config: TrainConfig, rows: int) -> int:
    """How many folds the rows are learnt from in; only rows that are drawn at random are divided again at random."""
    chosen = config.split.folds
    if config.split.method in ("stratified", "random"):
        if chosen is not None and chosen > rows:
            raise ConfigError(f"split.folds is {chosen}; expected at most the number of rows to learn from, {rows}")
        if chosen is None and config.split.validation != SplitConfig().validation:
            return 1  # validation rows were asked for, and folds have none
        return folds_for(rows, chosen)
    if chosen is not None and chosen > 1:
        raise ConfigError(
            f"split.folds is {chosen} and split.method is {config.split.method!r}; rows are assigned to folds at random",
            hint='leave split.folds out, or use split.method="stratified"',
        )
    return 1


def _streamed(config: TrainConfig, source: Any) -> PreparedRows:
    data = config.data
    if config.evaluate.folds is not None:
        raise ConfigError(
            "evaluate.folds is for tables in memory, and this one is read as a stream",
            hint="a table of so many rows is tested well enough on a part: leave the folds out",
        )
    if config.split.folds is not None and config.split.folds > 1:
        raise ConfigError("split.folds is for tables in memory, and this one is read as a stream", hint="leave it out")
    if config.fairness.sensitive:
        raise ConfigError(
            "fairness.sensitive is for tables in memory, and this one is read as a stream",
            hint="compare groups afterwards: danlu evaluate RUN FILE --sensitive COLUMN; or use data.stream=false",
        )
    if config.trainer.minutes is not None:
        raise ConfigError(
            "trainer.minutes is for tables in memory, and this one is read as a stream",
            hint="leave it out, or use data.stream=false",
        )
    if not isinstance(source, str | Path):
        raise ConfigError("data.stream is for files; this table is in memory already")
    if not data.target:
        raise ConfigError("no target was named", hint="name the column to predict: --target COLUMN")
    files, told = Path(source), tuple[str, ...]()
    if files.is_file() and is_plain_text(files):
        files, told = as_parquet(files, data)
    stream = open_stream(
        files,
        target=data.target,
        task=None if data.task == "auto" else data.task,
        kinds=data.kinds,
        drop=data.drop,
        method=config.split.method,
        column=config.split.column,
        validation=config.split.validation,
        test=0.0 if data.test is not None else config.split.test,
        seed=config.trainer.seed,
        merge=data.spellings == "merge",
        missing=() if data.missing is None or told else data.marks(),  # a copy was written with them
        twins=config.split.equal_rows == "together",
    )
    stream = dataclasses.replace(stream, target=stream.target.looking_for(data.positive))
    notices, rows = [*told, *stream.notices, *stream.inferred.notices], stream.rows
    encoder = TableEncoder.fit(stream.sample, stream.schema)
    test, frame = None, None
    if data.test is not None:
        names = [*(column.name for column in stream.schema.features), data.target]
        frame, more = _separate(data, names, stream.schema, stream.target)
        notices += more
        rows["test"] = frame.height
        test = encoder.transform(frame), stream.target.transform(frame[data.target])
    elif rows["test"]:
        test = stream.test(encoder).arrays(limit=HELD)
    for part in ("validation", "test"):
        if rows[part] > HELD and (part == "validation" or data.test is None):
            notices.append(f"{HELD:,} of the {rows[part]:,} {part} rows are used")
    found = quick_audit_of_sample(config, source) if data.audit and not config.private.on else None
    if found is not None:
        notices += [str(each) if found.sample is None else f"in a sample: {each}" for each in found.alarms]
    return PreparedRows(
        audit=found,
        schema=stream.schema,
        inferred=stream.inferred,
        target=stream.target,
        encoder=encoder,
        train=stream.train(encoder),
        validation=stream.validation(encoder).arrays(limit=HELD),
        test=test,
        shown=frame,
        background=drawn(stream.sample, config.trainer.seed),
        rows=rows,
        split=stream.split,
        notices=tuple(notices),
    )


def _separate(
    data: DataConfig, columns: Any, schema: Schema, target: TargetEncoder, sensitive: Sensitive | None = None
) -> tuple[pl.DataFrame, list[str]]:
    """The rows of the user's own test file, in the columns of the training file and read as those were."""
    other = _read(data.test, data, typed=False)
    frame, respelt = match_names(other.frame, columns)
    other = dataclasses.replace(other, frame=frame, notices=(*other.notices, *respelt))
    absent = [column for column in columns if column not in other.names]
    if absent:
        raise DataError(
            f"the test file {data.test} lacks the columns: {', '.join(absent)}; it has: {', '.join(other.names[:30])}",
            hint="give a test file with the columns of the training file",
        )
    checked, found = check_frame(other.frame.select(columns), schema, lenient=True)
    if sensitive is not None:
        checked = checked.with_columns(sensitive_column(other.frame, column, schema) for column in sensitive.names)
    test, dropped = drop_missing_target(checked, target.name)
    labels, notices = target.normalise(test[target.name])
    test = test.with_columns(labels.alias(target.name))
    target.transform(labels)
    return test, [*(f"test file: {notice}" for notice in (*other.notices, *found, *dropped)), *notices]


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    text = figure(value, 6) if isinstance(value, float) else str(value).removesuffix(" 00:00:00")
    return text if len(text) <= 40 else text[:39] + "…"
