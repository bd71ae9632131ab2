"""Few examples: pictures of many classes, from which a model learns to tell new classes by a few examples of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
import polars as pl

from danlu.blueprint import Blueprint
from danlu.data.images import ImageEncoder, ImageSet, read_classes
from danlu.data.images.read import listed_files
from danlu.engine.initial import initial_weights
from danlu.engine.order import rng_for
from danlu.engine.sources import ArraySource
from danlu.errors import ConfigError, DataError, SchemaError
from danlu.evaluate.judgement import Judgement
from danlu.fewshot import (
    Drawings,
    Drawn,
    Episode,
    FewShots,
    Quiz,
    Shots,
    episodes,
    is_drawn,
    loss_of,
    nearest,
    objective_of,
    pixels,
    shot_recipe,
)
from danlu.fewshot.answers import groups_of
from danlu.fewshot.baselines import euclidean
from danlu.fewshot.episodes import fitting_ways
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain, Option, Prepared, Simple
from danlu.pipeline.images import Images
from danlu.pipeline.items import newly_read
from danlu.pipeline.pictures import HELD, names_of, new_pictures
from danlu.pipeline.pixels import border, encoder_for
from danlu.pipeline.used import COMMON, RECIPE
from danlu.stages import stage
from danlu.tasks import Recipe
from danlu.tasks.pairs import Pairs
from danlu.trained import HeldOut, Learned, Read, Say, Trained, warn

__all__ = ["FewShotPictures", "PreparedClasses", "similar", "with_support"]

_LARGEST = 64  # the longest side that images keep by themselves
_WAYS, _QUERIES = 20, 4
_JUDGED = 40  # episodes of validation classes after each epoch
_TEST = 200  # episodes of a test
_FEWEST_GROUPS = 3  # groups that are divided as wholes
_SPLIT = 31  # the word beside the seed by which classes are divided

_TABLES = (".csv", ".tsv", ".parquet", ".arrow", ".jsonl", ".xlsx")
Part = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedClasses(Prepared):
    """Encoded pictures of the three parts, each ``(pictures, labels)``; no class is in two of them.

    Attributes:
        encoder: fitted to the training pictures.
        train, validation, test: the parts; no test part where there are no test classes.
        episode, judged: the form of the episodes of the training, and of those that judge it.
        within: whether the classes of one episode are of one group.
        classes: how many each part has.
    """

    encoder: ImageEncoder
    train: Part
    validation: Part
    test: Part | None
    episode: Episode
    judged: Episode
    within: bool
    classes: Mapping[str, int]

    def lines(self) -> Iterable[str]:
        height, width, channels = self.encoder.in_shape
        kind = "colour" if channels == 3 else "grey"
        parts = ", ".join(f"{count} for {part}" for part, count in self.classes.items())
        yield f"{sum(self.rows.values()):,} images of {height}×{width} ({kind}) of {sum(self.classes.values())} classes: {parts}"
        e, group = self.episode, " of one group" if self.within else ""
        judged = "" if self.judged.ways == e.ways else f"; validation episodes have {self.judged.ways} classes"
        yield f"episodes of {e.ways} classes{group}, of each {e.shots} to learn from and {e.queries} to answer{judged}"


class FewShotPictures(Domain):
    """Pictures of classes with few examples."""

    kind = "fewshot"
    noun = "classes with few examples"
    encoder = ImageEncoder
    head = Shots
    takes = (str, Path, np.ndarray)
    instead_of_why = "danlu similar RUN PICTURE --among FOLDER shows what a picture is told by"
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"shots": FewShots}
    options: ClassVar[tuple[Option, ...]] = (
        Option("--shots", "shots.k", "Learn to tell new classes by so many examples of each.", type=int),
    )
    uses = (
        *COMMON,
        RECIPE,
        "augment.color|erase|flip|random|rotation|scale|shear|translate",
        "data.image_column|image_size|target",
        "model.width",
        "shots.*",
    )

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return config.shots.k is not None

    def files(self, config: TrainConfig, source: str | Path) -> list[Path]:
        return [] if Path(source).is_dir() else listed_files(Path(source), config.data.image_column)

    def prepare(self, config: TrainConfig, source: Any) -> PreparedClasses:
        if not isinstance(source, str | Path):
            raise ConfigError(
                f"--shots reads a folder of classes, an npz file or a list of pictures; received a {type(source).__name__}"
            )
        found, k = self._found(config, source), config.shots.k or 1
        notices: list[str] = []
        labels = _labels(found)
        counts = dict(zip(*np.unique(labels, return_counts=True), strict=True))
        few = [name for name, count in counts.items() if count <= k]
        if few:
            notices.append(
                f"{len(few)} of {len(counts)} classes have no more than {k} examples and are left out: {', '.join(few[:5])}"
                f"{', …' if len(few) > 5 else ''}"
            )
            kept = np.flatnonzero(~np.isin(labels, few))
            if not len(kept):
                raise DataError(
                    f"no class has more than {k} examples; expected {k} to learn from and one more to answer"
                )
            found, labels = found.rows(kept), labels[kept]
        parts, said = self._divided(config, found, labels)
        tested = None if config.data.test is None else self._found(config, config.data.test)
        if tested is not None:
            strange = set(_labels(tested).tolist()) & set(labels[parts["train"]].tolist())
            if strange:
                notices.append(
                    f"{len(strange)} classes of the test are among those that are learnt from: {', '.join(sorted(strange)[:5])}"
                )
        encoder, resized = encoder_for(found.rows(parts["train"]).images, config.data.image_size, largest=_LARGEST)
        notices += [resized] if resized else []

        def encoded(rows: np.ndarray) -> Part:
            return encoder.transform(found.rows(rows).images), labels[rows]

        held = {name: encoded(rows) for name, rows in parts.items() if len(rows)}
        if tested is not None:
            held["test"] = encoder.transform(tested.images), _labels(tested)
        episode, judged, within = self._episode(config, {name: part[1] for name, part in held.items()})
        return PreparedClasses(
            rows={name: len(part[1]) for name, part in held.items()},
            split=said,
            notices=(*found.notices, *notices),
            unit="images",
            encoder=encoder,
            train=held["train"],
            validation=held["validation"],
            test=held.get("test"),
            episode=episode,
            judged=judged,
            within=within,
            classes={name: len(np.unique(part[1])) for name, part in held.items()},
        )

    def _found(self, config: TrainConfig, source: Any) -> ImageSet:
        columns = {"path_column": config.data.image_column, "target": config.data.target or None}
        if Path(source).is_dir():
            asked = [name for name, value in zip(("image_column", "target"), columns.values(), strict=True) if value]
            if asked:
                raise ConfigError(
                    f"data.{asked[0]} is for a table of pictures; {source} is a folder, whose folders are the classes"
                )
            return read_classes(source)
        try:
            return read_classes(source, **columns)
        except DataError as error:
            if error.hint is None and config.data.image_column is None and Path(source).suffix.lower() in _TABLES:
                hint = "--shots learns from pictures; the features of a table are learnt with --target COLUMN"
                raise DataError(str(error), hint=hint) from error
            raise

    def _divided(self, config: TrainConfig, found: ImageSet, labels: np.ndarray) -> tuple[dict[str, np.ndarray], str]:
        """The rows of each part: whole classes, or whole groups of them."""
        if found.parts is not None and {"train", "validation"} <= set(found.parts.tolist()):
            own = {name: np.flatnonzero(found.parts == name) for name in ("train", "validation", "test")}
            return own, "the source's own parts"
        names, codes = np.unique(labels, return_inverse=True)
        groups, asked = groups_of(names.tolist()), config.shots.divide
        if asked == "groups" and groups is None:
            raise ConfigError(
                "shots.divide is 'groups', and the classes have none; expected a folder above the folders of the classes"
            )
        whole = groups is not None and (
            asked == "groups" or (asked == "auto" and len(np.unique(groups)) >= _FEWEST_GROUPS)
        )
        units = groups if whole and groups is not None else np.arange(len(names))
        count, what = len(np.unique(units)), "groups of classes" if whole else "classes"
        shares = {"validation": config.split.validation, "test": config.tested_share}
        sizes = {name: max(1 if whole else 2, round(share * count)) if share else 0 for name, share in shares.items()}
        least = 1 if whole else 2
        if count - sum(sizes.values()) < least:
            raise DataError(
                f"{count} {what} are too few to divide into training, validation and test; expected {sum(sizes.values()) + least} or more",
                hint="shots.divide=classes divides single classes" if whole else "split.test=0 needs fewer",
            )
        order = rng_for(config.trainer.seed, _SPLIT).permutation(count)
        cuts = np.cumsum([sizes["test"], sizes["validation"]])
        drawn = dict(zip(("test", "validation", "train"), np.split(order, cuts), strict=True))
        of = units[codes]
        rows = {name: np.flatnonzero(np.isin(of, drawn[name])) for name in ("train", "validation", "test")}
        told = ", ".join(f"{len(drawn[name])} for {name}" for name in rows if len(drawn[name]))
        return rows, f"whole {what}, drawn at random: {told} (seed {config.trainer.seed})"

    def _episode(self, config: TrainConfig, labels: Mapping[str, np.ndarray]) -> tuple[Episode, Episode, bool]:
        """The form of the episodes of the training and of its validation, and whether the classes of one are of one group."""
        settings, k = config.shots, config.shots.k or 1
        known = {name: np.unique(part, return_counts=True) for name, part in labels.items()}
        groups = {name: groups_of(names.tolist()) for name, (names, _) in known.items()}
        grouped = all(each is not None for each in groups.values())
        if settings.within and not grouped:
            raise ConfigError(
                "shots.within is true, and the classes have no groups; expected a folder above the folders of the classes"
            )
        within = grouped if settings.within is None else settings.within
        pools = {
            name: np.bincount(of) if within and (of := groups[name]) is not None else np.array([len(known[name][0])])
            for name in known
        }
        for name, sizes in pools.items():
            if (most := int(sizes.max())) < 2:
                raise DataError(
                    f"the {name} part has {most} class{' in a group' if within else ''}; expected 2 or more, to be told from each other",
                    hint="shots.within=false takes classes of several groups together" if within else None,
                )
        largest = int(pools["train"].max())
        if settings.ways is not None and settings.ways > largest:
            where = " in its largest group" if within else ""
            raise ConfigError(
                f"shots.ways is {settings.ways}, and the training part has {largest} classes{where}; expected at most as many"
            )
        fewest = {name: int(counts.min()) - k for name, (_, counts) in known.items()}
        if settings.queries is not None and settings.queries > fewest["train"]:
            raise ConfigError(
                f"shots.queries is {settings.queries}, and a class has {fewest['train']} beside its shots; expected at most as many"
            )
        ways = settings.ways or max(2, fitting_ways(pools["train"], _WAYS))
        own = Episode(ways, k, settings.queries or min(_QUERIES, fewest["train"]))
        judged = Episode(max(2, fitting_ways(pools["validation"], ways)), k, min(own.queries, fewest["validation"]))
        return own, judged, within

    def plan(self, config: TrainConfig, prepared: PreparedClasses) -> Recipe:
        return shot_recipe(
            config.shots,
            prepared.episode,
            prepared.rows["train"],
            prepared.encoder.in_shape,
            classes=prepared.classes["train"],
            augment=config.augment,
            fill=border(prepared.train[0]) / 127.5 - 1,
            **config.decided("width"),
        )

    def learn(self, config: TrainConfig, prepared: PreparedClasses, plan: Recipe, **how: Any) -> Learned:
        model: Any = plan.model
        network, episode, seed = model.layers[0], prepared.episode, config.trainer.seed
        head = config.shots.head(episode, within=prepared.within)
        x, codes, groups = _coded(prepared.train, prepared.within)
        held, held_codes, held_groups = _coded(prepared.validation, prepared.within)
        count = config.shots.episodes or max(1, round(len(codes) / plan.batch_size)) * (plan.batch_size // episode.size)
        rows = count * episode.size
        judged = episodes(held_codes, prepared.judged, _JUDGED, groups=held_groups)
        initial = initial_weights(plan.model, prepared.encoder.in_shape, jax.random.key(seed))
        fitted = plan.fit(
            (x, codes.astype(np.int32)),
            rows=rows,
            seed=seed,
            loss=objective_of(network, head, loss_of(config.shots), prepared.judged),
            sampler=episodes(codes, episode, count, groups=groups),
            validation=ArraySource(
                (held, held_codes.astype(np.int32)), batch_size=8 * prepared.judged.size, sampler=judged
            ),
            monitor="val_loss",
            initial=initial,
            **how,
        )
        start = np.asarray(fitted.params[1]["kernel"]) if config.shots.adapts else None
        head = dataclasses.replace(head, start=start)
        trained = Trained(network, fitted.params[0], fitted.state[0], prepared.encoder, head)
        with stage("fitting the probabilities"):
            known = HeldOut(head.quiz(trained, *prepared.validation), prepared.validation[1])
        trained = dataclasses.replace(trained, head=head.fitted(known))
        return Learned(trained.remembering(prepared.train, prepared.validation), fitted)

    def test(self, config: TrainConfig, prepared: PreparedClasses, trained: Trained) -> Judgement | None:
        if prepared.test is None:
            return None
        own = trained.judge(*prepared.test, seed=config.trainer.seed)
        return dataclasses.replace(own, rows_are="test images", notes=(*own.notes, *_notes(own.evidence)))

    def simple(self, config: TrainConfig, prepared: PreparedClasses, trained: Trained, ours: Any) -> Iterable[Simple]:
        if prepared.test is None:
            return
        head: Shots = trained.head
        plain = dataclasses.replace(head, temperature=None)
        parts = [prepared.validation, prepared.test]
        drawn = [Drawn.of(labels, head.episode, _TEST, within=head.within) for _, labels in parts]

        def told(label: str, quizzes: list[Quiz]) -> Simple:
            fitted = plain.fitted(HeldOut(quizzes[0], None))
            return Simple(label, quizzes[1].evidence(fitted.temperature, fitted.threshold))

        with stage("comparing with untrained models"):
            seen = [pixels(images) for images, _ in parts]
            each = [nearest(one, euclidean(vectors), vectors) for one, vectors in zip(drawn, seen, strict=True)]
            yield told("the nearest picture, pixel by pixel", each)
            if all(is_drawn(images) for images, _ in parts):
                each = [nearest(one, Drawings(images)) for one, (images, _) in zip(drawn, parts, strict=True)]
                yield told("the nearest drawing (Hausdorff)", each)
            params, state = initial_weights(trained.network, trained.in_shape, jax.random.key(config.trainer.seed))
            fresh = dataclasses.replace(
                trained,
                params=params,
                state=state,
                head=dataclasses.replace(plain, method="prototypes", scale=1.0, start=None),
            )
            yield told("the network untrained, by prototypes", [fresh.head.quiz(fresh, *part) for part in parts])
            if head.method != "probe":
                probe = dataclasses.replace(
                    trained, head=dataclasses.replace(plain, method="probe", steps=100, rate=0.1, start=None)
                )
                yield told("a linear probe of its vectors", [probe.head.quiz(probe, *part) for part in parts])

    def report(self, prepared: PreparedClasses, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "target": f"new classes by {trained.head.shots} of each",
            "task": "few examples",
            "facts": trained.head.facts(),
        }
        if prepared.test is None or judgement is None:
            return fields
        from danlu.fewshot.sections import shot_sections

        quiz = trained.head.quiz(trained, *prepared.test)
        return {**fields, "sections": shot_sections(prepared.test[0], quiz, judgement.evidence, trained.head)}

    # The trained model.

    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
        if not truth:
            found = new_pictures(source, None, say)
            names = found.paths
            return Read(found.images, None, names_of(names))
        if isinstance(source, np.ndarray):
            raise SchemaError("an array of pictures has no classes; expected a folder with a folder for each class")
        found = newly_read(lambda: read_classes(source, memory=HELD), say)
        return Read(found.images, _labels(found), noun="images")

    def shown(self, trained: Trained, source: Any, *, say: Say = warn) -> Trained:
        """The classifier of the classes of a folder with a few examples of each: a model of pictures like any other."""
        if isinstance(source, tuple):
            rows, labels = source
        else:
            found = newly_read(lambda: read_classes(source, memory=HELD), say)
            rows, labels = found.images, _labels(found).tolist()
        head: Shots = trained.head
        return dataclasses.replace(head.classifier(trained, rows, labels), reader=Images())

    def purpose(self, trained: Trained) -> str:
        return "new classes by a few examples of each"

    def next_steps(self, trained: Trained, run: str, source: str) -> tuple[tuple[str, ...], ...]:
        return (("evaluate", run, source),)


def _coded(part: Part, within: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Pictures, the number of each one's class, and the group of each class where episodes are of one."""
    names, codes = np.unique(part[1], return_inverse=True)
    return part[0], codes, groups_of(names.tolist()) if within else None


def _labels(found: ImageSet) -> np.ndarray:
    """The class of each picture, as text."""
    labels: Any = found.labels
    told: np.ndarray = labels.to_numpy().astype(str)
    return told


def _notes(evidence: Any) -> tuple[str, ...]:
    """What the intervals are of."""
    if evidence.groups is None or evidence.together is not None:
        return ()
    count = len(np.unique(np.asarray(evidence.groups)[evidence.rows]))
    what = "1 group" if count == 1 else f"{count} groups"
    return (
        f"the test classes are of {what}: the intervals are of other classes of such groups, and do not allow for another group",
    )


def with_support(model: Trained, source: str | Path, *, say: Say = warn) -> Trained:
    """The classifier that a model for few examples is with a support; see :meth:`FewShotPictures.shown`.

    Raises:
        ConfigError: a model of another kind.
    """
    if not isinstance(model.head, Shots):
        raise ConfigError(
            f"a support is for models that learn new classes by a few examples; this is a model for {model.purpose}",
            hint="danlu train FOLDER --shots 5 trains one",
        )
    return model.shown(source, say=say)


def similar(model: Trained, source: Any, among: Any, *, most: int = 5, say: Say = warn) -> pl.DataFrame:
    """The nearest of ``among`` to each of ``source``: pictures by pictures (see :meth:`Shots.similar <danlu.fewshot.Shots.similar>`), or by
    their captions and the other way (:meth:`Pairs.similar <danlu.tasks.pairs.Pairs.similar>`).

    Raises:
        ConfigError: a model of another kind.
    """
    if not isinstance(model.head, Shots | Pairs):
        raise ConfigError(
            f"likeness is of models that were trained to compare; this is a model for {model.purpose}",
            hint="danlu train FOLDER --shots 5 trains one, or danlu train captions.csv --pair picture:caption",
        )
    found: pl.DataFrame = model.similar(source, among, most=most, say=say)
    return found
