"""Tables whose columns are numbers, categories, texts, pictures and recordings together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
import polars as pl

from danlu.blueprint import Blueprint
from danlu.data import TargetEncoder, check_frame, read_table
from danlu.data.composite import Composite
from danlu.data.images import ImageEncoder
from danlu.data.kinds import MEDIA
from danlu.data.media import files_named, located, names_media, without_folders
from danlu.data.mixed import MixedSet, read_mixed
from danlu.data.spelling import merge_spellings
from danlu.errors import ConfigError
from danlu.evaluate import Importance, Rows
from danlu.evaluate.judgement import Judgement
from danlu.explained import Asked, Explained
from danlu.explained.modalities import explain_modalities
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.divided import Divided
from danlu.pipeline.domain import Option, Simple
from danlu.pipeline.items import LabelledItems, left_out
from danlu.pipeline.labelled import DECISIONS, PreparedRows
from danlu.pipeline.modalities import contributions, relied_on, singles, told_of
from danlu.pipeline.pixels import border, cells, encoder_for
from danlu.pipeline.tables import worst_rows
from danlu.pipeline.towers import BESIDE, SETTING, begun, learnt_before, said_of, taken_over, trunks_of
from danlu.pipeline.used import COMMON, LABELLED, RECIPE, WRITTEN
from danlu.stages import stage
from danlu.tasks import Recipe
from danlu.tasks.fusion import Fusing, fusion_recipe
from danlu.tasks.trunks import Towers
from danlu.trained import Learned, Read, Say, Trained

__all__ = ["Mixed", "for_simple_models", "image_encoder", "noted"]

_LARGEST = 64  # the longest side that pictures keep by themselves
_CELLS = 6  # a side, to which pictures are averaged for the baselines
_WORDS = 128  # whose presence the baselines see


class Mixed(LabelledItems):
    """Rows of several modalities, each with a class or a quantity."""

    kind = "mixed"
    noun = "tables with texts, pictures or recordings"
    items = "rows"
    encoder = Composite
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"fusion": Fusing, "tower": Towers}
    beside = (*LabelledItems.beside, *BESIDE)
    models = (SETTING,)
    options = (
        *DECISIONS,
        Option("--fuse", "fusion.kind", "How texts, pictures and columns are put together: late, mid or blend."),
    )
    uses = (
        *COMMON,
        RECIPE,
        WRITTEN,
        "augment.flip|rotation|scale|shear|translate|erase|color|random",
        "data.image_size|spellings|target|task",
        *LABELLED,
        "evaluate.importance",
        "fusion.*",
        "model.members|width|depth|dropout",
        "split.equal_rows|method",
        "tower.*",
        "trainer.loss",
    )
    summarised = " of the columns, the commonest words and small pictures"

    def claims(self, config: TrainConfig, source: Any) -> bool:
        data = config.data
        if config.fusion.kind is not None or any(kind in MEDIA for kind in data.kinds.values()):
            return True
        return bool(data.target) and names_media(source)

    def files(self, config: TrainConfig, source: str | Path) -> Iterable[Path]:
        return files_named(source, None, config.data.kinds)

    def find(self, config: TrainConfig, source: Any, before: MixedSet | None = None) -> MixedSet:
        data = config.data
        if not data.target:
            raise ConfigError("no target was named", hint=self.label_hint)
        merge = data.spellings == "merge"
        how: dict[str, Any] = {"missing": data.marks(), "dates": data.dates, **data.form()}
        schema = None if before is None else before.schema
        found = read_mixed(
            source, target=data.target, kinds=data.kinds, drop=data.drop, merge=merge, schema=schema, **how
        )
        found = left_out(found, "rows")
        if len(found.schema.features) < 1 or not any(c.kind in ("text", *MEDIA) for c in found.schema.features):
            raise ConfigError(
                f"fusion.kind is {config.fusion.kind!r}, and no column of {found.schema.names} holds texts, pictures or recordings",
                hint='say which does: data.kinds={"NAME": "text"} (or image, sound); or leave fusion.kind out',
            )
        if before is not None or found.labels is None or not merge:
            return found
        labels, respelt = merge_spellings(found.labels)
        return dataclasses.replace(found, labels=labels, notices=(*found.notices, *respelt))

    def keys(self, found: MixedSet, rows: np.ndarray) -> Iterable[Any]:
        return found.keys(rows)

    def leaves(self, config: TrainConfig) -> str:
        return "the classes, the levels and ranges of columns, the words that come twice or more, and the sizes of pictures and recordings"

    def encoded(self, config: TrainConfig, parts: Divided, target: TargetEncoder) -> dict[str, Any]:
        found, told = parts.found, set[str]()
        encoder = Composite.fit(found.frame[parts.places["train"]], found.schema, image=image_encoder(config, told))
        trunks = trunks_of(config, encoder)
        encoder, said = taken_over(encoder, trunks, config.tower.begin)
        parts.notices.extend([*sorted(told), *said])
        prepared = parts.encoded(encoder, lambda part: part.frame, lambda part: target.transform(part.labels))
        shown = None if not len(parts.tested) else parts.tested.frame
        parts.notices.extend(learnt_before(trunks, config.tower.begin, prepared["test"] and prepared["test"][0]))
        return {**prepared, "schema": found.schema, "shown": shown, "trunks": trunks}

    def recipe(self, config: TrainConfig, prepared: PreparedRows) -> Recipe:
        return self.alone(config, prepared, prepared.encoder)

    def alone(self, config: TrainConfig, prepared: PreparedRows, encoder: Composite) -> Recipe:
        """The recipe of some of the modalities, those of ``encoder``."""
        chosen = config.decided("members", "width", "depth", "dropout", "loss")
        network: dict[str, Any] = {
            name: chosen.pop(name) for name in ("members", "width", "depth", "dropout") if name in chosen
        }
        pictures = prepared.sample()[0]["parts"]
        kinds = dict(zip(encoder.modalities, encoder.kinds, strict=True))
        return fusion_recipe(
            prepared.target.task,
            prepared.rows["train"],
            encoder,
            classes=prepared.target.units,
            fusing=config.fusion,
            augment=config.augment,
            fills={name: border(pictures[name]) / 127.5 - 1 for name, kind in kinds.items() if kind == "image"},
            network=network,
            trunks=prepared.trunks,
            **chosen,
        )

    def learn(self, config: TrainConfig, prepared: PreparedRows, plan: Recipe, **how: Any) -> Learned:
        if prepared.trunks and "initial" not in how:
            sample, key = prepared.sample()[0], jax.random.key(config.trainer.seed)
            how["initial"] = begun(prepared.trunks, plan.model, [plan.initial(own, sample) for own in plan.keys(key)])
        learned = super().learn(config, prepared, plan, **how)
        return noted(learned, said_of(config, prepared.trunks))

    def for_simple(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The table's columns, means over cells of pictures and recordings, and whether a text has each of the commonest words."""
        found = dict(inputs.get("table", {}))
        numbers = [found.pop("text", None), found.pop("numeric", None)]
        numbers += [for_simple_models(part) for part in inputs["parts"].values()]
        found["numeric"] = np.concatenate([inputs["present"], *(each for each in numbers if each is not None)], axis=1)
        return found

    def simple(self, config: TrainConfig, prepared: Any, trained: Trained, ours: Any) -> Iterable[Simple]:
        if prepared.trunks and config.tower.compare and prepared.test is not None:
            with stage("training with fresh towers, to compare"):
                fresh = dataclasses.replace(prepared, trunks={})
                scratch = self.learn(config, fresh, self.plan(config, fresh), display="none").model
            yield Simple("the same network with fresh towers", ours.with_prediction(scratch.answer(prepared.test[0])))
        yield from super().simple(config, prepared, trained, ours)
        if config.fusion.compare:
            yield from singles(config, prepared, trained, ours, self.alone)

    def test(self, config: TrainConfig, prepared: PreparedRows, trained: Trained) -> Judgement | None:
        own = super().test(config, prepared, trained)
        if own is None or prepared.test is None:
            return own
        return dataclasses.replace(own, notes=(*own.notes, *told_of(contributions(trained, *prepared.test))))

    def importance(
        self, config: TrainConfig, prepared: PreparedRows, trained: Trained, rows: Rows
    ) -> tuple[Importance, ...]:
        limit = config.evaluate.baseline_seconds
        if prepared.test is None or prepared.shown is None:
            return ()
        return relied_on(
            trained,
            prepared.test[0],
            prepared.shown,
            rows,
            seconds=None if limit is None else limit / 4,
            seed=config.trainer.seed,
        )

    def rows(self, trained: Trained, source: Any, *, lenient: bool, say: Say) -> Read:
        encoder, name = trained.encoder, trained.head.target.name
        table = read_table(source, typed=False)
        kinds = {column.name: column.kind for column in encoder.schema.features}
        lost = [each for each, _ in encoder.parts if each not in table.names]
        frame = table.frame.with_columns(pl.lit(None, pl.String).alias(each) for each in lost)
        checked, notices = check_frame(frame, encoder.schema, lenient=lenient)
        folder = Path(source).parent if isinstance(source, str | Path) else Path()
        checked, broken = located(checked, kinds, folder)
        for notice in (*table.notices, *notices, *broken, *encoder.lacking(checked)):
            say(notice)
        return Read(checked, checked[name] if name in checked.columns else None, given=table.frame)

    def explain(self, trained: Trained, found: Read, asked: Asked) -> list[Explained]:
        return explain_modalities(trained, found.rows, asked)

    def report(self, prepared: PreparedRows, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        fields = super().report(prepared, trained, judgement)
        if said := trained.provenance.get("begun"):
            fields = {**fields, "facts": {**fields["facts"], "towers": said}}
        if prepared.test is None:
            return fields
        from danlu.report.modalities import contributions_section

        section = contributions_section(contributions(trained, *prepared.test), trained.encoder)
        return fields | {"sections": [section, *fields.get("sections", [])]}

    def mistakes(self, prepared: PreparedRows, trained: Trained, rows: Rows) -> dict[str, Any]:
        if prepared.shown is None or prepared.schema is None:
            return {"mistakes": []}
        media = [column.name for column in prepared.schema.features if column.kind in MEDIA]
        return worst_rows(without_folders(prepared.shown, media), prepared, rows)


def noted(learned: Learned, said: str) -> Learned:
    """What was learnt, with a sentence of where it began; as it is without one."""
    if not said:
        return learned
    model = dataclasses.replace(learned.model, provenance={**learned.model.provenance, "begun": said})
    return dataclasses.replace(learned, model=model, notes=(*learned.notes, said))


def image_encoder(config: TrainConfig, told: set[str]) -> Callable[[Any], ImageEncoder]:
    """How the encoder of a column of pictures is fitted; what is to be said of it is added to ``told``."""

    def fitted(pictures: Any) -> ImageEncoder:
        encoder, said = encoder_for(pictures, config.data.image_size, largest=_LARGEST)
        told.update([said] if said else [])
        return encoder

    return fitted


def for_simple_models(part: Any) -> np.ndarray:
    """An encoded picture or recording as the means of its cells, a text as which of the commonest words it has, ``(rows, numbers)``."""
    if not isinstance(part, Mapping):
        return cells(part, _CELLS)
    words = part["words"]["x"]
    return (words[:, :, None] == np.arange(4, 4 + _WORDS)).any(axis=1).astype(np.float32)
