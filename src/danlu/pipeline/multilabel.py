"""Images that may each have several labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from danlu.artifact import Artifact
from danlu.data.images import ImageEncoder, LabelSets, is_label_source, read_labels
from danlu.data.images.read import listed_files
from danlu.evaluate import LabelRows
from danlu.evaluate.judgement import Judgement
from danlu.evaluate.labels import best_threshold, label_regressions
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Simple
from danlu.pipeline.pictures import HELD, Pictures, PreparedPictures, divided, encoded_parts
from danlu.pipeline.pixels import border, cells, memory_of
from danlu.pipeline.used import COMMON, CROSSED, PICTURES, RECIPE, STREAMED
from danlu.prose import percent
from danlu.tasks import Recipe, Tags, image_recipe
from danlu.trained import Read, Say, Trained

__all__ = ["LabelledImages", "PreparedLabels"]

_LARGEST = 64  # the longest side that images keep by themselves
_BASELINE = 14  # the side to which images are averaged for the baseline
_FOR_BASELINES = 5000  # training images that it learns from
_PICTURES = 12


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedLabels(PreparedPictures):
    """Encoded images and which labels they have; ``shares`` are those of the training images that have each label."""

    shares: np.ndarray

    def lines(self) -> Iterable[str]:
        labels, order = self.head.labels, np.argsort(-self.shares, kind="stable")[:8]
        some = ", ".join(f"{labels[place]} {percent(self.shares[place])}" for place in order)
        more = ", …" if len(labels) > len(order) else ""
        yield f"{self.told()}, {len(labels)} labels, {self.shares.sum():.1f} an image: {some}{more}"


class LabelledImages(Pictures):
    """Images, each with any number of labels."""

    kind = "multilabel"
    noun = "images with several labels each"
    head = Tags
    uses = (
        *COMMON,
        RECIPE,
        *PICTURES,
        STREAMED,
        CROSSED,
        "augment.*",
        "model.ensemble",
        "data.image_column|label_separator|target|task",
    )
    searched_by = ("label_precision",)
    instead: ClassVar[Mapping[str, str]] = {
        "imbalance.threshold": "the threshold of several labels is chosen automatically"
    }

    def claims(self, config: TrainConfig, source: Any) -> bool:
        data = config.data
        return data.task in ("auto", "multilabel") and is_label_source(
            source,
            target=data.target,
            path_column=data.image_column,
            separator=data.label_separator,
            asked=data.task == "multilabel",
        )

    def files(self, config: TrainConfig, source: str | Path) -> list[Path]:
        return listed_files(Path(source), config.data.image_column)

    def prepare(self, config: TrainConfig, source: Any) -> PreparedLabels:
        data = config.data

        def read(source: Any, before: LabelSets | None = None) -> LabelSets:
            return read_labels(
                source,
                target=data.target,
                path_column=data.image_column,
                separator=data.label_separator if before is None else before.separator or data.label_separator,
                known=None if before is None else before.names,
                memory=memory_of(data),
            )

        parts = divided(config, source, read, noun="images with several labels")
        found = parts.found
        head = Tags(found.names, data.target or "labels", found.separator or data.label_separator or "|")
        encoded = encoded_parts(
            config, parts, lambda part, _: part.marks, largest=_LARGEST, one=lambda row, _: found.marks[row]
        )
        shares = found.marks[parts.places["train"]].mean(axis=0)
        lacking = [name for name, share in zip(found.names, shares, strict=True) if not share]
        if lacking:
            parts.notices.append(f"no training image has the labels {', '.join(lacking[:5])}")
        return PreparedLabels(**self.fields(parts, head, **encoded), shares=shares)

    def truth(self, found: LabelSets, encoder: ImageEncoder, head: Tags) -> np.ndarray:
        return found.marks

    def plan(self, config: TrainConfig, prepared: PreparedLabels) -> Recipe:
        plan = image_recipe(
            "multilabel",
            prepared.rows["train"],
            prepared.encoder.in_shape,
            classes=len(prepared.head.labels),
            augment=config.augment,
            fill=border(prepared.sample(1000)[0]) / 127.5 - 1,
            **config.decided("width"),
        )
        return plan if config.model.ensemble is None else plan.replace(copies=config.model.ensemble)

    def measures(self, config: TrainConfig, plan: Recipe) -> dict[str, Any]:
        return {"metrics": ["label_accuracy"]}

    def simple(self, config: TrainConfig, prepared: PreparedLabels, trained: Trained, ours: Any) -> Iterable[Simple]:
        (held, known), (inputs, marks) = prepared.validation, prepared.test or prepared.validation
        commonest = [np.tile(prepared.shares, (len(each), 1)) for each in (known, marks)]
        images, own = prepared.sample(_FOR_BASELINES)
        regression = label_regressions(
            cells(images, _BASELINE), own, *(cells(each, _BASELINE) for each in (held, inputs))
        )
        for label, (for_held, answers) in (("the most common labels", commonest), ("logistic regression", regression)):
            yield Simple(label, LabelRows(marks, answers, best_threshold(known, for_held)))

    def old_head(self, artifact: Artifact) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        told: Any = artifact.task if isinstance(artifact.task, Mapping) else {}
        said = {name: told.get(name) for name in ("name", "separator")}
        return {"labels": artifact.classes, **said, "threshold": artifact.threshold}, {}

    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
        head = trained.head

        def read() -> LabelSets:
            if not truth:
                return read_labels(source)
            return read_labels(
                source,
                target=head.name,
                separator=head.separator,
                known=head.labels,
                lenient=lenient,
                memory=HELD,
            )

        ours = not isinstance(source, np.ndarray) and (truth or Path(source).suffix == ".npz")
        return self.taken(trained, source, read if ours else None, say, truth=truth, numbered=False)

    def purpose(self, trained: Trained) -> str:
        return f"which of {len(trained.head.labels)} labels an image has"

    def report(self, prepared: PreparedLabels, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        from danlu.report.labels import label_sections, mistake_sections

        head = trained.head
        fields: dict[str, Any] = {
            "target": head.name,
            "task": self.kind,
            "facts": {"threshold": f"{head.threshold:.2f}"},
        }
        rows = None if judgement is None else judgement.evidence
        if prepared.test is None or not isinstance(rows, LabelRows):
            return fields
        sections = label_sections(rows, head.labels, prepared.shares)
        return {**fields, "sections": [*sections, *mistake_sections(_pictures(trained, prepared.test[0], rows))]}


def _pictures(trained: Trained, inputs: np.ndarray, rows: LabelRows) -> list[tuple[np.ndarray, np.ndarray, str]]:
    """The images with the labels that were most wrong, where the network looked for these, and a word about each."""
    from danlu.explain import grad_cam

    gap = np.abs(rows.truth - rows.prediction) * (rows.truth != rows.chosen)
    label = gap.argmax(axis=1)
    worst = np.argsort(-gap.max(axis=1), kind="stable")[:_PICTURES]
    worst = worst[gap.max(axis=1)[worst] > 0]
    if not len(worst):
        return []
    filled = np.resize(worst, _PICTURES)  # of one size: one compilation
    seen = grad_cam(*trained.one, inputs[filled], label[filled])
    found = []
    for row, heat in zip(worst, seen, strict=False):
        place = label[row]
        way = "missed" if rows.truth[row, place] else "not there"
        said = f"{trained.head.labels[place]} {way} ({percent(rows.prediction[row, place])})"
        found.append((np.asarray(inputs[row]), np.asarray(heat), said))
    return found
