"""Pictures of which new ones are learnt to be drawn."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.blueprint import Blueprint
from danlu.data.images import ImageSet, is_image_source, read_images
from danlu.evaluate.generated import Drawings
from danlu.evaluate.judgement import Judgement
from danlu.generative import Generate, Painting, PaintingRecipe, painting_recipe
from danlu.generative.features import Features, nearest
from danlu.generative.recipe import grain_of, likelihood_of
from danlu.generative.simple import PlainGaussian, PlainPixels
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Beside, Option, Simple
from danlu.pipeline.pictures import Pictures, PreparedPictures, divided, encoded_parts
from danlu.pipeline.pixels import memory_of
from danlu.pipeline.used import COMMON, PICTURES, RECIPE, STREAMED
from danlu.prose import percent
from danlu.report.drawings import drawn_sheet, near_sheet, way_sheet
from danlu.trained import Read, Say, Trained

__all__ = ["Paintings"]

_LARGEST = 32  # the longest side that pictures keep by themselves
_MANY = 100  # labels of which each is learnt
_KNOWN = 10_000  # training pictures that simple models learn from, and among which the nearest is looked for
_TESTED = 1000  # test pictures, beside which as many are drawn


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedPaintings(PreparedPictures):
    """Encoded pictures with the codes of their labels, 0 where they have none."""

    @functools.cached_property
    def known(self) -> tuple[np.ndarray, np.ndarray]:
        """Training pictures and their labels, 10,000 at most."""
        return self.sample(_KNOWN)

    @functools.cached_property
    def features(self) -> Features:
        """What drawn pictures are compared with real ones in."""
        return Features.fit(*self.known, len(self.head.classes or ()))

    @functools.cached_property
    def real(self) -> tuple[np.ndarray, np.ndarray]:
        """The features of the test pictures, and how far each is from the nearest training picture."""
        pixels = self.test[0]
        return self.features.of(pixels)[0], nearest(pixels, self.known[0])[1]

    def beside(self, drawn: np.ndarray, labels: np.ndarray, values: Mapping[str, np.ndarray]) -> Drawings:
        """The test pictures beside as many drawn ones, which were to show ``labels``.

        Args:
            values: what is said of the test pictures, by the measures' names.
        """
        (real, far), (seen, shown) = self.real, self.features.of(drawn)
        hits = (shown == labels).astype(np.float64) if self.head.classes is not None else np.zeros(0)
        columns = np.stack([*values.values()], axis=1) if values else np.zeros((len(real), 0))
        near = np.stack([far, nearest(drawn, self.known[0])[1]], axis=1)
        return Drawings(real, seen, near, hits, columns, tuple(values))

    def places_of(self, codes: np.ndarray) -> dict[int, np.ndarray]:
        """The places among the known training pictures of those of each label of ``codes``; empty where one has fewer than two there."""
        found = {int(code): np.flatnonzero(self.known[1] == code) for code in np.unique(codes)}
        return found if all(len(place) > 1 for place in found.values()) else {}

    def floor(self, codes: np.ndarray, seed: int) -> str:
        """What training pictures that are taken for drawn ones bring, in a sentence: real against real."""
        rng, places = np.random.default_rng(seed), self.places_of(codes)
        every = np.arange(len(self.known[0]))
        picked = [rng.choice(places.get(int(code), every)) for code in codes]
        scores = self.beside(self.known[0][picked], codes, {}).scores(seed=seed)
        shown = scores.get("label_shown")
        seen = "" if shown is None else f"; {percent(shown.value)} of them show their label"
        return f"real against real: training pictures have a Fréchet distance of {scores['frechet']} from the test pictures{seen}"

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
            for name in ("beta", "likelihood")
        ),
        *(
            Beside(f"generate.{name}", lambda config: config.generate.model == "gan", "it is for generate.model=gan")
            for name in ("loss", "penalty", "weight", "spectral")
        ),
        Beside(
            "generate.codes",
            lambda config: config.generate.model in ("auto", "vae", "gan"),
            "it is for generate.model=vae and gan",
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
        found = PreparedPaintings(**self.fields(parts, head, **encoded))
        count = found.rows["test"]
        if count <= _TESTED:
            return found
        told = f"of the {count:,} test images the first {_TESTED:,} are used, beside which as many are drawn"
        some: Any = found.test
        return dataclasses.replace(
            found,
            test=(some[0][:_TESTED], some[1][:_TESTED]),
            rows={**found.rows, "test": _TESTED},
            names=None if found.names is None else found.names[:_TESTED],
            places=None if found.places is None else found.places[:_TESTED],
            notices=(*found.notices, told),
        )

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

    def test(self, config: TrainConfig, prepared: PreparedPaintings, trained: Trained) -> Judgement | None:
        """As many pictures as the test has are drawn, of the same labels, and compared with the test's."""
        if prepared.test is None:
            return None
        pixels, codes = prepared.test
        said, classes = trained.answer(pixels), trained.head.classes
        told = None if classes is None else [classes[code % len(classes)] for code in codes]
        drawn = trained.sample(len(pixels), seed=config.trainer.seed, label=told)
        evidence = prepared.beside(drawn, codes, said)
        return Judgement(
            evidence.scores(seed=config.trainer.seed),
            evidence=evidence,
            tested=f"{len(pixels):,} test images",
            name=self.model_name,
            rows_are="test images",
            predictions=trained.head.frame(said).insert_column(0, _names(prepared)),
            notes=(
                prepared.floor(codes, config.trainer.seed),
                f"the Fréchet distance is in {prepared.features.said}: compare it on the same data only",
            ),
        )

    def simple(self, config: TrainConfig, prepared: PreparedPaintings, trained: Trained, ours: Any) -> Iterable[Simple]:
        """A model in closed form, for each label where there are labels."""
        known, (pixels, codes) = prepared.known[0], prepared.test
        rng = np.random.default_rng(config.trainer.seed)
        places = prepared.places_of(codes)
        usable = len(places) > 1 and trained.head.classes is not None
        plain = PlainPixels if getattr(trained.network, "likelihood", "") == "bernoulli" else PlainGaussian
        name = f"{plain.label} of each label" if usable else plain.label
        drawn, nats = np.empty_like(pixels), np.empty(len(pixels))
        for code, place in places.items() if usable else [(None, np.arange(len(known)))]:
            rows = np.arange(len(pixels)) if code is None else np.flatnonzero(codes == code)
            one = plain.fit(known[place])
            drawn[rows], nats[rows] = one.draw(len(rows), rng), one.nats(pixels[rows])
        values = {"elbo": nats} if "elbo" in ours.names else {}
        yield Simple(name, prepared.beside(drawn, codes, values))

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
        sections = [
            ("What it draws", drawn_sheet(trained)),
            ("Beside the nearest training pictures", near_sheet(trained, prepared.known[0])),
            ("On the way from one to another", way_sheet(trained)),
        ]
        facts = {} if classes is None else {"labels": f"{len(classes)}"}
        return {
            "heading": "Drawing new pictures",
            "target": "new pictures",
            "task": self.kind,
            "facts": facts,
            "ideals": {"nearest": 1.0},  # as new as the test pictures: further away is not better
            "sections": sections,
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


def _names(prepared: PreparedPaintings) -> pl.Series:
    """The file of each test picture, or its number."""
    if prepared.names is not None:
        return prepared.names
    return pl.Series("file", [f"image {row}" for row in range(len(prepared.test[0]))], pl.String)
