"""Tables from which a model learns to make new rows: read, divided, put in cells; the test of the rows that it makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.blueprint import Blueprint
from danlu.data import Schema, check_frame, infer_schema, infer_task, read_table
from danlu.data.rows import RowEncoder
from danlu.errors import ConfigError, DataError, unknown_name
from danlu.evaluate.drawn import DrawnRows
from danlu.evaluate.judgement import Judgement
from danlu.generative.rows import (
    Bench,
    RowCopula,
    RowDraws,
    RowRecipe,
    Synthesize,
    begun,
    learn_rows,
    neighbours_mixed,
    normal_rows,
    real_rows,
    row_recipe,
)
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Beside, Domain, Option, Prepared, Simple
from danlu.pipeline.private import Looks, private_recipe
from danlu.pipeline.unlabelled import read_rows
from danlu.pipeline.used import COMMON, RECIPE, WRITTEN, check_columns
from danlu.privacy import Ledger
from danlu.trained import Learned, Read, Say, Trained

__all__ = ["MadeRows", "PreparedTable"]

_FEWEST = 20  # training rows
_MIXTURE = 100_000  # rows to which a mixture of Gaussians is fitted
Encoded = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedTable(Prepared):
    """A table in cells.

    Attributes:
        encoder: fitted to the training rows.
        train, validation, test: encoded rows; ``test`` is None without any.
        target: the number of the column by which rows are tested, −1 without one.
        task: ``"classes"`` or ``"regression"``, or empty.
        spent: what the statistics of private rows spent.
        private: whether the training rows are.
        owners: None: the rows are all in one place.
    """

    encoder: RowEncoder
    train: Encoded
    validation: Encoded
    test: Encoded | None
    target: int = -1
    task: str = ""
    spent: Ledger = dataclasses.field(default_factory=Ledger)
    private: bool = False
    owners: None = None

    def lines(self) -> Iterable[str]:
        encoder = self.encoder
        kinds = [("numbers", sum(cells.is_number for cells in encoder.cells))]
        kinds += [
            ("categories", len(encoder.cells) - kinds[0][1]),
            ("made anew", len(encoder.fresh)),
            ("constant", len(encoder.fixed)),
        ]
        told = ", ".join(f"{count} {what}" for what, count in kinds if count)
        yield f"columns: {told}; {sum(encoder.sizes):,} cells"

    @property
    def is_plain(self) -> bool:
        """Whether all columns are numbers without missing values, so that a row has a density."""
        return all(cells.is_number and not cells.missing for cells in self.encoder.cells)

    def bench(self, seed: int) -> Bench:
        """The test of made-up rows."""
        known = None if self.private else self.train
        return Bench(self.encoder, known, self.test or {}, self.target, self.task, seed)


class MadeRows(Domain):
    """Tables from which a model learns to make new rows."""

    kind = "rows"
    noun = "synthetic tables"
    encoder = RowEncoder
    head = RowDraws
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"synthesize": Synthesize}
    options = (
        Option(
            "--synthesize",
            "",
            "Learn to make new rows such as those of a table; also --synthesize=diffusion. With --target they are tested by what can be "
            "learnt from them.",
            flag=True,
            settings=lambda kind: {"synthesize.model": kind or "auto"},
        ),
    )
    uses = (
        *COMMON,
        RECIPE,
        WRITTEN,
        "data.target|task",
        "model.width|depth|dropout",
        "private.*",
        "split.column|method",
        "synthesize.*",
    )
    beside = (
        Beside(
            "synthesize.steps",
            lambda config: config.synthesize.model == "diffusion",
            "it is for synthesize.model=diffusion",
        ),
        Beside("data.task", lambda config: bool(config.data.target), "there is no target: --target COLUMN"),
    )
    instead: ClassVar[Mapping[str, str]] = {
        "split.equal_rows": "rows are divided one by one, so that each part has all kinds of rows as often as they are"
    }
    model_name = "the model"
    instead_of_why = (
        "danlu predict RUN FILE says how likely each row is; the report shows column by column what is made"
    )

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return config.synthesize.model is not None

    def prepare(self, config: TrainConfig, source: Any) -> PreparedTable:
        data = config.data
        how: dict[str, Any] = {"missing": data.marks(), "kinds": data.kinds, "dates": data.dates, **data.form()}
        table, raw = read_table(source, **how), read_table(source, typed=False, **data.form())
        check_columns(data, table.names)
        for name in (data.target, config.split.column):
            if name and name not in table.names:
                raise unknown_name("target column" if name == data.target else "column", name, table.names)
        notices = list(table.notices)
        left = [name for name in table.names if name not in data.drop]
        if data.drop:
            notices.append(f"made-up rows lack the columns that are left out: {', '.join(data.drop)}")
        frame = table.frame.select(left)
        schema = infer_schema(frame, kinds=data.kinds, formats=table.formats)
        features = [column.name for column in schema.features]
        if data.target and data.target not in features:
            raise DataError(
                f"the target {data.target!r} is the same in every row or names rows; expected one to be learnt"
            )
        task = ""
        if data.target:
            asked = None if data.task == "auto" else data.task
            inferred = infer_task(frame[data.target].drop_nulls(), task=asked)
            notices += inferred.notices
            task = "regression" if inferred.task == "regression" else "classes"
        split = config.divide(
            frame,
            method=config.split.method if data.target or config.split.method != "stratified" else "random",
            column=config.split.column,
            target=data.target or None,
            task=None if not data.target else inferred.task,
            test=config.tested_share,
        )
        if len(split.train) < _FEWEST or not len(split.validation):
            raise DataError(
                f"the split left {len(split.train)} training rows and {len(split.validation)} validation rows; "
                f"expected {_FEWEST} or more, and some",
                hint="give more rows",
            )
        train, looks = _typed(frame[split.train], schema), None
        if config.private.on:
            looks = Looks.at(train.select(features), schema, "", (), config.private)
            notices.append(looks.said)
            schema = _public(schema, looks.frame)
            notices.append(
                "taken as public: the names and kinds of the columns, how values are written, and columns that never change"
            )
        encoder = RowEncoder.fit(
            train,
            schema,
            raw=dataclasses.replace(raw, frame=raw.frame.select(left)),
            most=config.synthesize.cells,
            seen=None if looks is None else looks.frame,
        )
        for name, (rarer, _) in encoder.rest.items():
            notices.append(
                f"column {name!r}: its {len(rarer):,} rarer values are drawn by their own shares, whatever else a row has; "
                "they are those of training rows"
            )
        for name in encoder.fresh:
            notices.append(f"column {name!r} names rows; made-up rows get new names")
        test = frame[split.test] if data.test is None else _separate(data, schema)
        validation = encoder.transform(_typed(frame[split.validation], schema))
        return PreparedTable(
            encoder=encoder,
            train=encoder.transform(train),
            validation=validation,
            test=encoder.transform(_typed(test, schema)) if test.height else None,
            target=features.index(data.target) if data.target else -1,
            task=task,
            spent=Ledger() if looks is None else looks.ledger,
            private=config.private.on,
            rows={"train": train.height, "validation": len(split.validation), "test": test.height},
            split=split.description,
            notices=tuple(notices),
        )

    def plan(self, config: TrainConfig, prepared: PreparedTable) -> RowRecipe:
        plan = row_recipe(
            prepared.encoder,
            prepared.rows["train"],
            settings=config.synthesize,
            **config.decided("width", "depth", "dropout"),
        )
        if not config.private.on:
            return plan
        if isinstance(plan.model, RowCopula):
            raise ConfigError(
                "the training is private, and a copula reads the rows in closed form, without noise",
                hint="synthesize.model=autoregressive",
            )
        found: Any = private_recipe(config, plan, prepared)
        return found

    def learn(self, config: TrainConfig, prepared: PreparedTable, plan: RowRecipe, **how: Any) -> Learned:
        return learn_rows(
            prepared.train,
            encoder=prepared.encoder,
            plan=plan,
            validation=prepared.validation,
            seed=config.trainer.seed,
            **how,
        )

    def test(self, config: TrainConfig, prepared: PreparedTable, trained: Trained) -> Judgement | None:
        if prepared.test is None:
            return None
        seed = config.trainer.seed
        bench = prepared.bench(seed)
        drawn = trained.head.encoded(trained, bench.wanted, seed=seed)
        network: Any = trained.network
        nats = -trained.answer(prepared.test) if network.exact and prepared.is_plain else None
        evidence = bench.tested(drawn, nats)
        others = {}
        if config.evaluate.baselines and not prepared.private:
            others = {"real rows": bench.tested(real_rows(prepared.train, bench.wanted, seed=seed)).scores(seed=seed)}
        return Judgement(
            evidence.scores(seed=seed),
            others=others,
            evidence=evidence,
            tested=f"{len(evidence):,} made-up rows beside as many test rows",
            name=self.model_name,
            notes=self._notes(config, prepared, evidence),
        )

    def _notes(self, config: TrainConfig, prepared: PreparedTable, evidence: DrawnRows) -> tuple[str, ...]:
        notes = []
        if prepared.private:
            notes.append(
                "closeness and the membership attack would read private training rows, so the test leaves them out"
            )
        if not prepared.task:
            notes.append("with --target COLUMN it is tested as well what can be learnt from the rows")
        return tuple(notes)

    def simple(self, config: TrainConfig, prepared: PreparedTable, trained: Trained, ours: Any) -> Iterable[Simple]:
        seed, train, test = config.trainer.seed, prepared.train, prepared.test
        bench = prepared.bench(seed)
        if test is None:
            return
        if not isinstance(trained.network, RowCopula):
            network: Any = RowCopula(prepared.encoder.sizes, tuple(cells.is_number for cells in prepared.encoder.cells))
            params, state = begun(network, prepared.encoder, train, seed)
            copula = dataclasses.replace(trained, network=network, params=params, state=state)
            nats = -copula.answer(test) if prepared.is_plain else None
            drawn = copula.head.encoded(copula, bench.wanted, seed=seed)
            yield Simple("the Gaussian copula", bench.tested(drawn, nats), constant=False)
        numbers = np.array([cells.is_number for cells in prepared.encoder.cells])
        mixed = neighbours_mixed(train, bench.space(train), numbers, bench.wanted, seed=seed)
        yield Simple("neighbours mixed (SMOTE)", bench.tested(mixed), constant=False)
        if prepared.is_plain:
            few = {name: values[:_MIXTURE] for name, values in train.items()}
            for mixture in (False, True):
                label, drawn, nats = normal_rows(
                    prepared.encoder, few, prepared.validation, test, bench.wanted, mixture=mixture, seed=seed
                )
                yield Simple(label, bench.tested(drawn, nats), constant=False)

    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
        return read_rows(trained, source, lenient=lenient, say=say, truth=truth)

    def purpose(self, trained: Trained) -> str:
        return f"making rows of {len(trained.encoder.schema.names)} columns"

    def next_steps(self, trained: Trained, run: str, source: str) -> tuple[tuple[str, ...], ...]:
        return (("sample", run, "--count", "1000", "-o", "synthetic.csv"),)

    def report(self, prepared: PreparedTable, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        from danlu.report.made import made_sections

        encoder = prepared.encoder
        facts = {"columns": f"{len(encoder.schema.names)}", "cells": f"{sum(encoder.sizes):,}"}
        rows = trained.sample(8)
        found = None if judgement is None else judgement.evidence
        sections = (
            made_sections(rows, encoder, found) if isinstance(found, DrawnRows) else made_sections(rows, encoder, None)
        )
        return {
            "heading": "Making new rows",
            "target": "new rows",
            "task": "synthesize",
            "facts": facts,
            "sections": sections,
        }


def _public(schema: Schema, seen: pl.DataFrame) -> Schema:
    """The schema with what is known of the columns from noisy counts alone; of those not used nothing."""
    kinds = {column.name: column.kind for column in schema.features}
    known = {column.name: column for column in infer_schema(seen, kinds=kinds).columns}
    nothing: dict[str, Any] = {"missing": 0, "distinct": 0, "minimum": None, "maximum": None, "mean": None}
    columns = [
        dataclasses.replace(known[column.name], format=column.format, whole=column.whole)
        if column.used
        else dataclasses.replace(column, **nothing, categories=(), examples=())
        for column in schema.columns
    ]
    return dataclasses.replace(schema, columns=tuple(columns))


def _typed(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """The rows with each feature in the type of its kind, and the other columns as they are."""
    return pl.DataFrame(
        [column.read(frame[column.name]) if column.used else frame[column.name] for column in schema.columns]
    )


def _separate(data: Any, schema: Schema) -> pl.DataFrame:
    """The rows of a test file, in the columns of the schema."""
    table = read_table(data.test, typed=False, **data.form())
    checked, _ = check_frame(table.frame, schema)
    rest = [pl.Series(column.name, [None] * checked.height) for column in schema.columns if not column.used]
    return checked.hstack(rest) if rest else checked
