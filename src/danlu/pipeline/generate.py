"""Pictures of which new ones are learnt to be drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.blueprint import Blueprint
from danlu.data.images import ImageSet, is_image_source, read_images
from danlu.evaluate.generated import RowScores
from danlu.evaluate.judgement import Judgement
from danlu.generative import Generate, Painting, PaintingRecipe, painting_recipe
from danlu.generative.recipe import grain_of, likelihood_of
from danlu.generative.simple import PlainGaussian, PlainPixels
from danlu.generative.written import grid
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Beside, Option, Simple
from danlu.pipeline.pictures import Pictures, PreparedPictures, divided, encoded_parts
from danlu.pipeline.pixels import memory_of
from danlu.pipeline.used import COMMON, PICTURES, RECIPE, STREAMED
from danlu.report.picture import png_uri
from danlu.trained import Read, Say, Trained

__all__ = ["Paintings"]

_LARGEST = 32  # the longest side that pictures keep by themselves
_MANY = 100  # labels of which each is learnt
_KNOWN = 10_000  # training pictures that simple models learn from


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedPaintings(PreparedPictures):
    """Encoded pictures with the codes of their labels, 0 where they have none."""

    def lines(self) -> Iterable[str]:
        classes = self.head.classes
        yield (
            self.told()
            if classes is None
            else f"{self.told()} with {len(classes)} labels: {', '.join(classes[:10])}"
            + (", …" if len(classes) > 10 else "")
        )


class Paintings(Pictures):
    """Pictures from which a model learns to draw new ones."""

    kind = "painting"
    noun = "pictures to be drawn"
    head = Painting
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"generate": Generate}
    options = (
        Option(
            "--generate",
            "",
            "Learn to draw new pictures such as those of the source; also --generate=diffusion.",
            flag=True,
            settings=lambda kind: {"generate.model": kind or "auto"},
        ),
    )
    uses = (*COMMON, RECIPE, *PICTURES, STREAMED, "data.image_column|target", "generate.*")
    beside = (
        *(
            Beside(
                f"generate.{name}",
                lambda config: config.generate.model in ("auto", "vae"),
                "it is for generate.model=vae",
            )
            for name in ("codes", "beta", "likelihood")
        ),
        Beside(
            "generate.unlabelled", lambda config: config.generate.labels, "no labels are learnt: generate.labels=false"
        ),
    )
    model_name = "the model"
    instead_of_why = "the report of the run shows what it draws"

    def claims(self, config: TrainConfig, source: Any) -> bool:
        asked = config.generate.model is not None
        return asked and (config.data.image_column is not None or is_image_source(source))

    def prepare(self, config: TrainConfig, source: Any) -> PreparedPaintings:
        data = config.data

        def read(source: Any, before: ImageSet | None = None) -> ImageSet:
            options: dict[str, Any] = {"path_column": data.image_column, "target": data.target or None}
            return read_images(source, memory=memory_of(data), **options)

        parts = divided(config, source, read, noun="images")
        head, labels = Painting(_labels(config, parts.found.labels)), parts.found.labels
        if head.classes is None and config.generate.labels and labels is not None and labels.n_unique() > _MANY:
            parts.notices.append(
                f"the {labels.n_unique():,} labels are too many to be learnt; the pictures count as unlabelled"
            )
        codes = self.truth(parts.found, None, head)
        encoded = encoded_parts(
            config,
            parts,
            lambda part, encoder: self.truth(part, encoder, head),
            largest=_LARGEST,
            multiple=lambda height, width: grain_of(str(config.generate.model), height, width),
            one=lambda row, encoder: codes[row],
        )
        return PreparedPaintings(**self.fields(parts, head, **encoded))

    def truth(self, found: Any, encoder: Any, head: Painting) -> np.ndarray:
        """The code of each picture's label; of one that is not known ``len(classes)``, of pictures without labels 0."""
        if head.classes is None or found.labels is None:
            return np.full(len(found), len(head.classes or ()), np.int32)
        places = {name: code for code, name in enumerate(head.classes)}
        names = found.labels.cast(pl.String).to_list()
        return np.array([places.get(name, len(places)) for name in names], np.int32)

    def plan(self, config: TrainConfig, prepared: PreparedPaintings) -> PaintingRecipe:
        return painting_recipe(
            str(config.generate.model),
            prepared.rows["train"],
            prepared.encoder.in_shape,
            classes=len(prepared.head.classes or ()),
            settings=config.generate,
            likelihood=likelihood_of(config.generate.likelihood, prepared.sample(1000)[0]),
            **config.decided("width"),
        )

    def measures(self, config: TrainConfig, plan: Any) -> dict[str, Any]:
        return {"held": None}

    def simple(self, config: TrainConfig, prepared: PreparedPaintings, trained: Trained, ours: Any) -> Iterable[Simple]:
        if prepared.test is None or ours.primary != "elbo":
            return
        known, test = prepared.sample(_KNOWN)[0], prepared.test[0]
        bernoulli = trained.network.likelihood == "bernoulli"
        plain = PlainPixels.fit(known) if bernoulli else PlainGaussian.fit(known)
        yield Simple(plain.label, RowScores(plain.nats(test)[:, None], ("elbo",), prepared.test[1]))

    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
        found = self.taken(trained, source, None, say, truth=False, numbered=True)
        return dataclasses.replace(found, truth=np.zeros(len(found.rows), np.int32) if truth else None)

    def purpose(self, trained: Trained) -> str:
        classes = trained.head.classes
        return "drawing pictures" if classes is None else f"drawing pictures of {len(classes)} labels"

    def next_steps(self, trained: Trained, run: str, source: str) -> tuple[tuple[str, ...], ...]:
        label = () if trained.head.classes is None else ("--label", trained.head.classes[0])
        return (("sample", run, "--count", "64", *label, "-o", "samples.png"),)

    def report(self, prepared: PreparedPaintings, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        classes = trained.head.classes
        count = 64 if classes is None else 8 * min(len(classes), 12)
        across = 8 if classes is None else min(len(classes), 12)
        labels = trained.head.labels_of(count) if classes is None or len(classes) <= 12 else None
        drawn = trained.sample(count, label=labels)
        said = "Drawn with the seeds 0 …" if classes is None else f"A column for each label: {', '.join(classes[:12])}"
        sheet = f"<img class='pixels' style='width: min(100%, {across * 48}px)' src='{png_uri(grid(drawn, across))}' alt=''>"
        return {
            "target": "new pictures",
            "task": self.kind,
            "facts": {} if classes is None else {"labels": f"{len(classes)}"},
            "sections": [("What it draws", f"{sheet}<p class='note'>{said}</p>")],
        }


def _labels(config: TrainConfig, labels: pl.Series | None) -> tuple[str, ...] | None:
    """The labels that are learnt: all that there are, where they are several and not too many."""
    if labels is None or not config.generate.labels:
        return None
    names = [name for name in labels.cast(pl.String).unique().drop_nulls().to_list() if name]
    if not 2 <= len(names) <= _MANY:
        return None
    by_number = all(name.lstrip("-").isdigit() for name in names)
    return tuple(sorted(names, key=int if by_number else None))
