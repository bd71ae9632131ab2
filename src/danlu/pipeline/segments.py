"""Tables whose rows are divided into segments."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.blueprint import Blueprint
from danlu.data import TableEncoder, check_frame, infer_schema, read_table
from danlu.errors import ConfigError, DataError, unknown_name
from danlu.evaluate.judgement import Judgement
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Beside, Domain, Option, Prepared, Simple
from danlu.pipeline.unlabelled import read_rows
from danlu.pipeline.used import COMMON, RECIPE, WRITTEN, check_columns
from danlu.segments import (
    Segmenting,
    SegmentSettings,
    choose,
    described,
    divided,
    learn_segments,
    means_of,
    segments_recipe,
)
from danlu.segments.alone import without_segments
from danlu.segments.choose import labels_by, split_centres
from danlu.segments.head import clustered
from danlu.segments.settings import SegmentsRecipe
from danlu.trained import Learned, Read, Say, Trained

__all__ = ["PreparedSegments", "Segmented"]

_FEWEST = 40  # training rows


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedSegments(Prepared):
    """A table, encoded.

    Attributes:
        encoder: fitted to the training rows.
        shown: the training, validation and test rows as they were read.
        target: the values of the target of the training rows, which is not used.
    """

    encoder: TableEncoder
    shown: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]
    target: pl.Series | None

    def encoded(self, place: int) -> Any:
        """Training (0), validation (1) or test rows (2) as arrays."""
        return self.encoder.transform(self.shown[place])

    def lines(self) -> Iterable[str]:
        kinds: dict[str, int] = {}
        for column in self.encoder.schema.features:
            kinds[column.kind] = kinds.get(column.kind, 0) + 1
        yield f"columns by which rows are alike: {', '.join(f'{count} {kind}' for kind, count in kinds.items())}"


class Segmented(Domain):
    """Tables whose rows are divided into segments."""

    kind = "segments"
    noun = "tables that are divided into segments"
    encoder = TableEncoder
    head = Segmenting
    model_name = "the division by codes"
    instead_of_why = "the report of the run tells what each segment is like, and by which rule it is found"
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"segments": SegmentSettings}
    options = (
        Option(
            "--segments",
            "",
            "Divide the rows of a table into segments, as many as are clear, or --segments=4. A --target is not used, only shown.",
            flag=True,
            settings=lambda given: {"segments.k": _count(given)},
        ),
    )
    uses = (
        *COMMON,
        RECIPE,
        WRITTEN,
        "data.target",
        "model.width",
        "segments.*",
        "split.column|method",
    )
    beside = (Beside("segments.most", lambda config: not config.segments.k, "segments.k says how many there are"),)
    instead: ClassVar[Mapping[str, str]] = {
        "data.task": "segments are learnt without a target; it is only shown by segment",
        "split.equal_rows": "rows are divided one by one, so that each part has all kinds of rows as often as they are",
        "model.depth": "the network has one hidden layer; model.width is its size, and segments.codes how many numbers stand for a row",
    }

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return config.segments.k is not None

    def prepare(self, config: TrainConfig, source: Any) -> PreparedSegments:
        data = config.data
        if config.segments.k == 1:
            raise ConfigError(
                "segments.k is 1; expected 2 or more, or 0, which finds how many there are", hint="--segments"
            )
        how: dict[str, Any] = {"missing": data.marks(), "kinds": data.kinds, "dates": data.dates, **data.form()}
        table = read_table(source, **how)
        check_columns(data, table.names)
        for name in (data.target, config.split.column):
            if name and name not in table.names:
                raise unknown_name("target column" if name == data.target else "column", name, table.names)
        notices = list(table.notices)
        frame = table.frame
        out = [name for name in frame.columns if name in {*data.drop, data.target}]
        if config.split.method in ("time", "group", "column") and config.split.column:
            out.append(str(config.split.column))
            notices.append(f"column {config.split.column!r} defines the split and does not make rows alike")
        if data.target:
            notices.append(f"target {data.target!r} is not used to divide the rows; it is shown by segment")
        columns = frame.drop(out)
        if not columns.width:
            raise DataError("the table has no columns by which its rows could be alike; expected one or more")
        schema = infer_schema(
            columns, kinds={k: v for k, v in data.kinds.items() if k in columns.columns}, formats=table.formats
        )
        for column in schema.columns:
            if not column.used:
                notices.append(f"column {column.name!r} is left out: {column.reason or column.kind}")
        split = config.divide(
            frame,
            method="random" if config.split.method == "stratified" else config.split.method,
            column=config.split.column,
            test=config.tested_share,
        )
        if len(split.train) < _FEWEST or not len(split.validation):
            raise DataError(
                f"the split left {len(split.train)} training rows and {len(split.validation)} validation rows; "
                f"expected {_FEWEST} or more, and some",
                hint="give more rows",
            )
        test = columns[split.test]
        if data.test is not None:
            other = read_table(data.test, typed=False, **data.form())
            test, more = check_frame(other.frame, schema)
            notices += [f"test: {notice}" for notice in (*other.notices, *more)]
        train = columns[split.train]
        return PreparedSegments(
            rows={"train": train.height, "validation": len(split.validation), "test": test.height},
            split=split.description,
            notices=tuple(notices),
            encoder=TableEncoder.fit(train, schema, max_categories=64),
            shown=(train, columns[split.validation], test),
            target=frame[data.target][split.train] if data.target else None,
        )

    def plan(self, config: TrainConfig, prepared: PreparedSegments) -> SegmentsRecipe:
        return segments_recipe(
            prepared.encoder, prepared.rows["train"], codes=config.segments.codes, **config.decided("width")
        )

    def learn(self, config: TrainConfig, prepared: PreparedSegments, plan: SegmentsRecipe, **how: Any) -> Learned:
        held = prepared.encoded(0), prepared.encoded(1)
        learned = learn_segments(
            *held,
            rows=prepared.shown[0],
            checked=prepared.shown[1],
            target=prepared.target,
            encoder=prepared.encoder,
            plan=plan,
            settings=config.segments,
            seed=config.trainer.seed,
            **how,
        )
        parts = [(part, np.zeros(rows.height)) for part, rows in zip(held, prepared.shown, strict=False)]
        return dataclasses.replace(learned, model=learned.model.remembering(*parts))

    def test(self, config: TrainConfig, prepared: PreparedSegments, trained: Trained) -> Judgement | None:
        if not prepared.rows["test"]:
            return None
        rows = prepared.rows["test"]
        found = trained.judge(prepared.encoded(2), np.zeros(rows), rows=prepared.shown[2], seed=config.trainer.seed)
        return dataclasses.replace(found, name=self.model_name)

    def simple(self, config: TrainConfig, prepared: PreparedSegments, trained: Trained, ours: Any) -> Iterable[Simple]:
        """One segment for all, and k-means on the columns themselves."""
        yield from trained.head.simple(None, ours)
        seed, k = config.trainer.seed, len(trained.head.centres)
        network: Any = trained.network
        train, test = (np.asarray(network.flat(prepared.encoded(place)), np.float64) for place in (0, 2))
        if k == 1:
            without = without_segments(prepared.encoder, prepared.encoded(0))
            k = choose(
                train,
                most=config.segments.most,
                seed=seed,
                cloud=lambda rng, count: np.asarray(network.flat(without(rng, count)), np.float64),
            ).k
        if k == 1:
            return
        centres, _, labels = divided(train, k, seed)
        means = means_of(train, labels, k)
        yield Simple(
            f"k-means on the columns ({k} segments)",
            clustered(test, split_centres(train, k, seed=seed), labels_by(centres, test), test, means),
            constant=False,
        )

    def report(self, prepared: PreparedSegments, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        from danlu.report.segments import segment_sections

        head, encoder = trained.head, prepared.encoder
        codes = [np.asarray(trained.outputs(prepared.encoded(place)), np.float64) for place in (0, 1)]
        labels = [labels_by(np.asarray(head.centres), each) for each in codes]
        told = described(encoder, prepared.shown[0], labels[0], prepared.shown[1], labels[1], target=prepared.target)
        network: Any = trained.network
        facts = {"segments": f"{len(head.centres)}", "codes": f"{network.codes}"}
        sections = segment_sections(told, codes[0], labels[0], np.asarray(head.tried), head.said)
        fields = {"target": "segments", "task": "segments", "facts": facts, "sections": sections}
        return {"heading": "Dividing rows into segments", **fields}

    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
        return read_rows(trained, source, lenient=lenient, say=say, truth=truth)

    def purpose(self, trained: Trained) -> str:
        return f"which of {len(trained.head.centres)} segments a row is of"


def _count(given: str) -> int:
    """The number of ``--segments=NUMBER``; 0 without one."""
    if not given:
        return 0
    if not given.isascii() or not given.isdigit():
        raise ConfigError(f"--segments is {given!r}; expected a whole number, or nothing", hint="--segments=4")
    return int(given)
