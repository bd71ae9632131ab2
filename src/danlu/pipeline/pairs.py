"""Pairs, such as pictures with their captions: two towers that bring what belongs together near each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
import polars as pl

from danlu.blueprint import Blueprint
from danlu.data import read_table
from danlu.data.composite import Composite
from danlu.data.describe import infer_schema
from danlu.data.folders import files_in
from danlu.data.images.pixels import is_picture
from danlu.data.kinds import MEDIA
from danlu.data.media import files_named, found_media, located, written_as
from danlu.data.mixed import MixedSet
from danlu.engine.sources import ArraySource
from danlu.errors import ConfigError, DataError, SchemaError, unknown_name
from danlu.evaluate.judgement import Judgement
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.divided import Divided, PreparedParts
from danlu.pipeline.domain import Domain, Option, Simple
from danlu.pipeline.mixed import for_simple_models, image_encoder, noted
from danlu.pipeline.pixels import border
from danlu.pipeline.towers import BESIDE, SETTING, begun, learnt_before, said_of, taken_over, trunks_of
from danlu.pipeline.used import COMMON, RECIPE
from danlu.stages import stage
from danlu.tasks import Recipe
from danlu.tasks.pairs import Contrast, Pairing, Pairs, pair_recipe
from danlu.tasks.trunks import Towers
from danlu.trained import Learned, Read, Say, Trained
from danlu.trained.read import warn

__all__ = ["PairedRows"]

_RIDGE = 10.0  # the penalty of the linear model, in rows


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedPairs(PreparedParts):
    """Encoded pairs; the truth of each part is the number of each row's first and second thing, ``(rows, 2)``."""

    schema: Any
    things: tuple[int, int]

    def lines(self) -> Iterable[str]:
        (first, _), (second, _) = self.encoder.parts
        yield f"{sum(self.rows.values()):,} pairs of {self.things[0]:,} different {first} and {self.things[1]:,} different {second}"


class PairedRows(Domain):
    """Rows of a table whose two columns belong together."""

    kind = "pairs"
    noun = "pairs (--pair)"
    encoder = Composite
    head = Pairs
    takes = (str, Path, pl.DataFrame, dict)
    instead_of_why = "danlu similar RUN FILE --among FILE shows what is near and what is not"
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"pair": Pairing, "tower": Towers}
    beside = BESIDE
    models = (SETTING,)
    options: ClassVar[tuple[Option, ...]] = (
        Option("--pair", "pair.columns", "The two columns that belong together, such as picture:caption."),
    )
    uses = (
        *COMMON,
        RECIPE,
        "augment.flip|rotation|scale|shear|translate|erase|color|random",
        "data.image_size|kinds|delimiter|encoding|header|missing",
        "pair.*",
        "split.equal_rows|method",
        "tower.*",
    )
    instead: ClassVar[Mapping[str, str]] = {"data.target": "--pair names the two columns; leave --target out"}

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return config.pair.columns is not None

    def files(self, config: TrainConfig, source: str | Path) -> Iterable[Path]:
        return files_named(source, str(config.pair.columns).split(":"), config.data.kinds)

    def _found(self, config: TrainConfig, source: Any, before: MixedSet | None = None) -> MixedSet:
        names = tuple(name.strip() for name in str(config.pair.columns).split(":"))
        if len(names) != 2 or names[0] == names[1] or not all(names):
            raise ConfigError(
                f"pair.columns (--pair) is {config.pair.columns!r}; expected two columns, such as picture:caption"
            )
        table = read_table(source, missing=config.data.marks(), typed=False, **config.data.form())
        for name in names:
            if name not in table.names:
                raise unknown_name("column", name, table.names, error=DataError)
        folder = Path(source).parent if isinstance(source, str | Path) else Path()
        frame = table.frame.select(pl.col(name).cast(pl.String) for name in names)
        kinds = {name: kind for name, (kind, _) in found_media(frame, folder).items()}
        kinds = {
            name: config.data.kinds.get(name) or kinds.get(name) or written_as(frame[name]) or "text" for name in names
        }
        strange = [f"{name}={kind}" for name, kind in kinds.items() if kind not in ("text", *MEDIA)]
        if strange:
            raise ConfigError(
                f"data.kinds says {', '.join(strange)}; expected text, image or sound of both columns of a pair"
            )
        schema = infer_schema(frame, kinds=kinds) if before is None else before.schema
        frame, lost = located(frame, kinds, folder)
        there = np.flatnonzero(np.logical_and.reduce([(frame[name].fill_null("") != "").to_numpy() for name in names]))
        told = [*table.notices, *lost]
        if len(there) < frame.height:
            told.append(
                f"{frame.height - len(there):,} of {frame.height:,} rows lack a part of their pair and were left out"
            )
        if not len(there):
            raise DataError(f"no row has both {names[0]!r} and {names[1]!r}")
        same = [name for name in names if frame[name][there].n_unique() == 1]
        if same and before is None and len(there) > 1:
            raise DataError(
                f"all {len(there):,} rows have the same {same[0]!r}, so there is nothing to tell apart",
                hint="expected different values in both columns of a pair",
            )
        return MixedSet(frame[there], schema, None, tuple(told), there)

    def prepare(self, config: TrainConfig, source: Any) -> PreparedPairs:
        found = self._found(config, source)
        parts = Divided.of(
            config,
            found,
            lambda source: self._found(config, source, found),
            lambda some, rows: some.frame[rows].to_series(0),
            noun="pairs",
        )
        told = set[str]()
        encoder = Composite.fit(found.frame[parts.places["train"]], found.schema, image=image_encoder(config, told))
        trunks = trunks_of(config, encoder)
        encoder, said = taken_over(encoder, trunks, config.tower.begin)
        prepared = parts.encoded(encoder, lambda part: part.frame, lambda part: _numbers(part.frame))
        notices = (
            *parts.notices,
            *sorted(told),
            *said,
            *learnt_before(trunks, config.tower.begin, prepared["test"] and prepared["test"][0]),
        )
        things = found.frame.to_series(0).n_unique(), found.frame.to_series(1).n_unique()
        return PreparedPairs(
            **prepared,
            notices=notices,
            schema=found.schema,
            things=things,
            unit="pairs",
            shown=parts.tested.frame,
            trunks=trunks,
        )

    def plan(self, config: TrainConfig, prepared: PreparedPairs) -> Recipe:
        inputs, kinds = (
            prepared.sample()[0]["parts"],
            dict(zip(prepared.encoder.modalities, prepared.encoder.kinds, strict=True)),
        )
        return pair_recipe(
            prepared.rows["train"],
            prepared.encoder,
            pairing=config.pair,
            augment=config.augment,
            fills={name: border(inputs[name]) / 127.5 - 1 for name, kind in kinds.items() if kind == "image"},
            trunks=prepared.trunks,
            **config.decided(),
        )

    def learn(self, config: TrainConfig, prepared: PreparedPairs, plan: Recipe, **how: Any) -> Learned:
        head = Pairs(prepared.encoder.modalities)
        if prepared.trunks and "initial" not in how:
            drawn = plan.initial(jax.random.key(config.trainer.seed), prepared.sample()[0])
            [how["initial"]] = begun(prepared.trunks, plan.model, [drawn])
        learned = plan.learn(
            prepared.train,
            encoder=prepared.encoder,
            head=head,
            rows=prepared.rows["train"],
            validation=ArraySource(prepared.validation, batch_size=plan.batch_size),
            seed=config.trainer.seed,
            loss=Contrast(plan.model),
            **how,
        )
        learned = dataclasses.replace(learned, model=learned.model.remembering(prepared.train, prepared.validation))
        return noted(learned, said_of(config, prepared.trunks))

    def simple_with_fresh_towers(self, config: TrainConfig, prepared: PreparedPairs, ours: Any) -> Iterable[Simple]:
        """The test of the same network with fresh towers, where some began with trained ones."""
        if not prepared.trunks or not config.tower.compare:
            return
        with stage("training with fresh towers, to compare"):
            fresh = dataclasses.replace(prepared, trunks={})
            scratch = self.learn(config, fresh, self.plan(config, fresh), display="none").model
        answers: Any = scratch.judge(*prepared.test, rows=prepared.shown, seed=config.trainer.seed).evidence
        yield Simple("the same network with fresh towers", answers, constant=False)

    def test(self, config: TrainConfig, prepared: PreparedPairs, trained: Trained) -> Judgement | None:
        if prepared.test is None:
            return None
        own = trained.judge(*prepared.test, rows=prepared.shown, seed=config.trainer.seed)
        seconds, firsts = own.evidence.candidates  # type: ignore[union-attr]
        first, second = trained.head.names
        told = f"each {first} is looked for among {firsts:,}, each {second} among {seconds:,}"
        return dataclasses.replace(own, rows_are="test pairs", notes=(*own.notes, told))

    def simple(self, config: TrainConfig, prepared: PreparedPairs, trained: Trained, ours: Any) -> Iterable[Simple]:
        if prepared.test is None:
            return
        yield from self.simple_with_fresh_towers(config, prepared, ours)
        (inputs, _), (asked, truth) = prepared.train, prepared.test
        rng = np.random.default_rng(config.trainer.seed)
        drawn = {side: rng.normal(size=(len(truth), 8)) for side in ("first", "second")}
        yield Simple("an order by chance", trained.head.evidence(drawn, truth), constant=True)
        known, tested = (_plain(each, trained.head.names) for each in (inputs, asked))
        answers = _linear(known, tested)
        yield Simple("a linear map of words and small pictures", trained.head.evidence(answers, truth), constant=False)

    def report(self, prepared: PreparedPairs, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        first, second = trained.head.names
        began = trained.provenance.get("begun")
        scale = float(np.exp(np.asarray(trained.one[1][2]["scale"])))
        fields: dict[str, Any] = {
            "heading": f"Matching {first} and {second}",
            "target": f"{first} and {second} that belong together",
            "task": self.head.task,
            "facts": {"temperature": f"{1 / scale:.3g}, learnt", **({"towers": began} if began else {})},
        }
        if prepared.test is None:
            return fields
        from danlu.report.modalities import retrieval_section

        return fields | {"sections": [retrieval_section(trained, prepared.test[0], prepared.test[1], prepared.shown)]}

    # The trained model.

    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
        table, names = read_table(source, typed=False), trained.head.names
        lost = [name for name in names if name not in table.names]
        if len(lost) == 2 or (lost and truth):
            raise SchemaError(
                f"the data lacks the column {lost[0]!r}; the model compares {names[0]!r} with {names[1]!r}"
            )
        folder = Path(source).parent if isinstance(source, str | Path) else Path()
        frame = table.frame.with_columns(pl.lit(None, pl.String).alias(name) for name in lost).select(
            pl.col(name).cast(pl.String) for name in names
        )
        frame, broken = located(frame, {column.name: column.kind for column in trained.encoder.schema.features}, folder)
        for notice in (*table.notices, *broken):
            say(notice)
        given = table.frame
        if truth:
            there = np.flatnonzero(
                np.logical_and.reduce([(frame[name].fill_null("") != "").to_numpy() for name in names])
            )
            if not len(there):
                raise SchemaError("no row has both parts of a pair")
            frame, given = frame[there], given[there]
        return Read(frame, _numbers(frame) if truth else None, given=given, noun="pairs")

    def side(self, trained: Trained, source: Any, side: int) -> tuple[str, list[str], list[str]]:
        """The things of one column that a source has: the column's name, their cells, and what they are called; see :meth:`Pairs.sided`.

        Raises:
            SchemaError: it has none of either column.
        """
        kinds = {column.name: column.kind for column in trained.encoder.schema.features}
        names = trained.head.names
        of = {kind: [name for name in names if kinds[name] == kind] for kind in ("text", "image", "sound")}

        def chosen(kind: str) -> str:
            if not of[kind]:
                raise SchemaError(
                    f"{source!r} holds what the model does not compare; it compares {names[0]!r} with {names[1]!r}"
                )
            return of[kind][min(side, len(of[kind]) - 1)]

        if isinstance(source, list | tuple):
            return chosen("text"), list(source), list(source)
        path = Path(source)
        if not path.exists():
            raise SchemaError(
                f"{path} was not found",
                hint="give a picture, a folder of them, a .txt file with a sentence a line, or a table",
            )
        if path.is_dir() or is_picture(path) or path.suffix.lower() == ".wav":
            there = [path] if path.is_file() else sorted(files_in(path))
            files = [each for each in there if is_picture(each) or each.suffix.lower() == ".wav"]
            if not files:
                raise SchemaError(f"{path} holds no picture and no recording")
            name = chosen("sound" if files[0].suffix.lower() == ".wav" else "image")
            cells = [str(each.absolute()) for each in files]
            return name, *_readable(pl.DataFrame({name: cells}), name, kinds, Path(), [each.name for each in files])
        if path.suffix.lower() == ".txt":
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
            if not lines:
                raise SchemaError(f"{path} has no line with a text")
            return chosen("text"), lines, lines
        found = read_table(path, typed=False).frame
        given = [name for name in names if name in found.columns]
        if not given:
            raise SchemaError(f"{path} has neither a column {names[0]!r} nor {names[1]!r}")
        name = given[min(side, len(given) - 1)]
        column = found.select(pl.col(name).cast(pl.String))
        return name, *_readable(column, name, kinds, path.parent, column[name].to_list())

    def purpose(self, trained: Trained) -> str:
        return f"finding {trained.head.names[0]} by {trained.head.names[1]}, and the other way"

    def next_steps(self, trained: Trained, run: str, source: str) -> tuple[tuple[str, ...], ...]:
        return (("evaluate", run, source), ("similar", run, source, "--among", source))


def _readable(
    frame: pl.DataFrame, name: str, kinds: Mapping[str, str], folder: Path, called: list[str]
) -> tuple[list[str], list[str]]:
    """The cells of a column that can be read, and what they are called; the user is told of the others.

    Raises:
        SchemaError: there is none.
    """
    try:
        found, broken = located(frame.select(name), kinds, folder)
    except DataError as error:
        raise SchemaError(error.message) from error
    for notice in broken:
        warn(notice)
    there = [place for place, cell in enumerate(found[name].to_list()) if cell]
    if not there:
        raise SchemaError(f"no row has a value in the column {name!r}")
    return [found[name][place] for place in there], [called[place] for place in there]


def _numbers(frame: pl.DataFrame) -> np.ndarray:
    """The number of each row's two things, ``(rows, 2)``: equal ones have one."""
    return np.stack([frame.to_series(place).rank("dense").to_numpy().astype(np.int32) for place in (0, 1)], axis=1)


def _plain(inputs: Mapping[str, Any], names: tuple[str, ...]) -> list[np.ndarray]:
    """Both things as the simple models see them, each ``(rows, numbers)``."""
    return [for_simple_models(inputs["parts"][name]) for name in names]


def _linear(known: list[np.ndarray], asked: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The second thing of each asked row, and what ridge regression says of it by the first; both centred and of length 1."""
    (x, y), (x_new, y_new) = known, asked
    left, right = x.mean(axis=0), y.mean(axis=0)
    x, y = x - left, y - right
    slopes = np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ y)
    found = {"first": (x_new - left) @ slopes, "second": y_new - right}
    return {side: each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-9) for side, each in found.items()}
