"""The head of a model that knows no classes: vectors, by which new classes are told from a few examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import jax
import numpy as np
import polars as pl

from danlu.blueprint import setting
from danlu.data import TargetEncoder
from danlu.errors import ArtifactError, SchemaError
from danlu.evaluate import Episodes
from danlu.evaluate.calibrate import fit_temperature
from danlu.evaluate.episodes import threshold_of_pairs
from danlu.fewshot.answers import Drawn, Quiz, logits_of, softmax
from danlu.fewshot.compare import centres, unit
from danlu.fewshot.episodes import Episode
from danlu.fewshot.learners import Adapting, Comparing, Learner, Probing
from danlu.nn import Dense, Sequential, SumOfParts, UnitLength
from danlu.trained import Head, HeldOut, Labels
from danlu.trained.head import namespace, out_shape_of

if TYPE_CHECKING:
    from danlu.trained import Trained

__all__ = ["METHODS", "Shots"]

METHODS = (
    *("prototypes", "matching", "maml", "fomaml", "reptile"),
    *("triplet", "contrastive", "supcon", "arcface", "probe"),
)
"""The ways to learn from few examples."""
_TEST_EPISODES = 200


class Shots(Head, fitted=("temperature", "start"), eq=False):
    """Vectors of length 1 (of prototypes: of any length), and what is made of them: classes by examples, likeness, same or different.

    Attributes:
        method: one of ``METHODS``.
        ways, shots, queries: the form of the episodes that it is tested by.
        within: whether the classes of an episode are of one group.
        scale: of the comparison.
        steps, rate: of the learning from a support.
        temperature: of the probabilities, fitted to episodes of classes that were not learnt from; None leaves them.
        threshold: the distance of two vectors up to which two items are said to be of one class.
        false_same, false_different: the shares of wrong answers of both kinds there, on pairs of the validation classes.
        start: what the vector of each class of a last layer begins with, ``(d, 1)``; None of methods that compare.
    """

    kind = "shots"
    task = "few examples"
    verbs = ("shown", "similar")

    method: str = setting(choices=METHODS)
    ways: int = setting(minimum=2, integer=True)
    shots: int = setting(minimum=1, integer=True)
    queries: int = setting(minimum=1, integer=True)
    within: bool = False
    scale: float = setting(default=1.0, above=0)
    steps: int = setting(default=5, minimum=1, integer=True)
    rate: float = setting(default=0.1, above=0)
    threshold: float = setting(default=0.0, minimum=0)
    false_same: float = setting(default=0.0, minimum=0, maximum=1)
    false_different: float = setting(default=0.0, minimum=0, maximum=1)
    temperature: Any | None = None
    start: Any | None = None

    instead: ClassVar[str | None] = "with --support it answers as a classifier does, which gives sets of classes"

    @property
    def episode(self) -> Episode:
        """The form of its episodes."""
        return Episode(self.ways, self.shots, self.queries)

    @property
    def learner(self) -> Learner:
        """How a support answers."""
        if self.method in ("maml", "fomaml", "reptile"):
            return Adapting(self.steps, self.rate, "second" if self.method == "maml" else "first")
        if self.method == "probe":
            return Probing(self.steps, self.rate)
        names = {"prototypes": "prototypes", "matching": "matching"}
        return Comparing(names.get(self.method, "cosine"), self.scale)

    def __call__(self, outputs: Any) -> Any:
        if self.method == "prototypes":
            return outputs
        xp = namespace(outputs)
        return outputs / xp.sqrt(xp.maximum((outputs * outputs).sum(axis=-1, keepdims=True), 1e-12))

    def frame(self, answers: np.ndarray, rows: Any = None) -> pl.DataFrame:
        """The vectors, a number a column."""
        return pl.DataFrame({f"v{place + 1}": answers[:, place] for place in range(answers.shape[1])})

    def replies(self, answers: np.ndarray, rows: Any = None) -> list[dict[str, Any]]:
        """The vectors as lists."""
        return [{"vector": answer.tolist()} for answer in answers]

    def variables(self, trained: Trained) -> tuple[Any, Any]:
        """The parameters and the state as learners take them."""
        last = {} if self.start is None else {"kernel": self.start}
        return (trained.params, last), (trained.state, {})

    def quiz(self, trained: Trained, inputs: np.ndarray, labels: np.ndarray, count: int = _TEST_EPISODES) -> Quiz:
        """Episodes of labelled pictures, answered.

        Raises:
            DataError: too few classes or examples.
        """
        drawn = Drawn.of(np.asarray(labels), self.episode, count, within=self.within)
        vectors = trained.answer(inputs)
        items = vectors.astype(np.float32) if self.learner.compares else inputs
        logits = logits_of(trained.network, self.learner, *self.variables(trained), drawn, items)
        return Quiz(drawn, logits, vectors)

    def marks(self, truth: Any) -> np.ndarray:
        """Nothing: a picture is known again by itself, whatever its class is called."""
        return np.zeros(len(truth), np.int32)

    def examined(self, trained: Trained, inputs: Any, truth: Any) -> Quiz:
        return self.quiz(trained, inputs, truth)

    def evidence(self, answers: Quiz, truth: Any) -> Episodes:
        return answers.evidence(self.temperature, self.threshold)

    def fitted(self, held: HeldOut) -> Self:
        """The temperature at which the queries' log loss is lowest, and the threshold of the pairs.

        Args:
            held: a :class:`Quiz` of classes that were not learnt from.
        """
        quiz: Quiz = held.answers
        ways = quiz.drawn.episode.ways
        truth = np.broadcast_to(np.arange(ways)[:, None], quiz.logits.shape[:3])
        temperature = fit_temperature(softmax(quiz.logits).reshape(-1, ways), truth.ravel())  # (queries of all, ways)
        told = quiz.evidence(temperature)
        if not len(told.distance):
            return dataclasses.replace(self, temperature=temperature)
        threshold = threshold_of_pairs(told)
        same, different = told.rates_at(threshold)
        return dataclasses.replace(
            self, temperature=temperature, threshold=threshold, false_same=same, false_different=different
        )

    def facts(self) -> dict[str, str]:
        return {
            "probabilities": f"temperature {float(self.temperature or 1):.3g}, fitted to validation classes",
            "same class": f"up to a distance of {self.threshold:.3g}: of pairs of validation classes {self.false_same:.1%} of the "
            f"different ones are taken for the same, and {self.false_different:.1%} of the same ones for different",
        }

    def tested(self, evidence: Any) -> str:
        count, ways = evidence.classes.shape
        return f"{count} episodes of {len(evidence)} test classes ({ways} ways, {self.shots} {'shot' if self.shots == 1 else 'shots'})"

    def beside(self, answers: Quiz, truth: Any, rows: Any = None) -> pl.DataFrame:
        """Each query: its episode, its number among the rows, its class, what was answered and how sure."""
        drawn, probability = answers.drawn, softmax(answers.logits, self.temperature)
        names, ways = np.array(drawn.names), drawn.classes
        chosen = probability.argmax(axis=-1)  # (episodes, ways, queries)
        episode = np.broadcast_to(np.arange(len(ways))[:, None, None], chosen.shape)
        told = np.take_along_axis(ways[:, None, :].repeat(chosen.shape[1], 1), chosen, axis=2)
        return pl.DataFrame(
            {
                "episode": episode.ravel(),
                "row": drawn.order[..., drawn.episode.shots :].ravel(),
                "class": names[np.broadcast_to(ways[..., None], chosen.shape)].ravel().tolist(),
                "answer": names[told].ravel().tolist(),
                "probability": probability.max(axis=-1).ravel().round(4),
            }
        )

    # What a support makes of it.

    def classifier(self, trained: Trained, rows: Any, labels: Sequence[str]) -> Trained:
        """An ordinary classifier of the classes of a support: the network and a last layer that follows from the examples.

        Raises:
            SchemaError: fewer than two classes.
        """
        told = pl.Series("class", [str(label) for label in labels])
        if told.n_unique() < 2:
            raise SchemaError(
                f"the support has {told.n_unique()} class; expected 2 or more, with a folder of examples for each",
                hint="danlu similar tells whether two pictures are of one class",
            )
        classes = tuple(told.unique().sort().to_list())
        target = TargetEncoder("class", "binary" if len(classes) == 2 else "multiclass", classes)
        codes = target.transform(told)
        order, counts = np.argsort(codes, kind="stable"), np.bincount(codes)
        inputs = trained.encoder.transform(rows)[order]
        network, params, state = self._with(trained, inputs, codes[order], counts)
        head = Labels(target, temperature=self.temperature)
        made = dataclasses.replace(
            trained, network=network, params=params, state=state, head=head, kept={}, profile=(), metrics={}
        )
        return made.remembering((inputs, codes[order]))  # so that no test is of the examples

    def _with(
        self, trained: Trained, inputs: np.ndarray, codes: np.ndarray, counts: np.ndarray
    ) -> tuple[Any, Any, Any]:
        """The network with a last layer for a support whose classes follow each other, and its variables."""
        ways, learner, key = len(counts), self.learner, jax.random.key(0)
        if isinstance(learner, Adapting):
            model, params, state = learner.taught(trained.network, *self.variables(trained), inputs, codes, ways, key)
            return model, *jax.tree.map(np.asarray, (params, state))
        vectors = trained.answer(inputs).astype(np.float32)
        means = np.stack([centres(vectors[codes == code]) for code in range(ways)])
        layers: tuple[Any, ...] = (UnitLength(), Dense(ways))
        if self.method == "prototypes":
            layers = (Dense(ways),)
            last = {"kernel": 2 * self.scale * means.T, "bias": -self.scale * np.square(means).sum(1)}
        elif self.method == "matching":
            layers = (UnitLength(), Dense(len(codes)), SumOfParts(tuple(counts.tolist())))
            last = {"kernel": self.scale * vectors.T, "bias": np.zeros(len(codes), np.float32)}
        elif isinstance(learner, Probing):
            own = learner.taught(vectors, codes, ways, key)
            last = {"kernel": learner.scale * np.asarray(own["kernel"]), "bias": np.asarray(own["bias"])}
        else:
            last = {"kernel": self.scale * np.asarray(unit(means)).T, "bias": np.zeros(ways, np.float32)}
        own_params = tuple(last if isinstance(layer, Dense) else {} for layer in layers)
        return (
            Sequential((trained.network, *layers)),
            (trained.params, *(jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), each) for each in own_params)),
            (trained.state, *({} for _ in layers)),
        )

    def shown(self, trained: Trained, source: Any, **how: Any) -> Trained:
        """The classifier of the classes in a folder with a few examples of each; see :meth:`classifier`."""
        reader: Any = trained.reader
        found: Trained = reader.shown(trained, source, **how)
        return found

    def similar(self, trained: Trained, source: Any, among: Any, *, most: int = 5, **how: Any) -> pl.DataFrame:
        """The nearest pictures of ``among`` for each picture of ``source``, with their distance, and whether they are of one class.

        Args:
            most: how many of each.
        """
        asked, there = (trained.read(each, **how) for each in (source, among))
        ours, theirs = (trained.answer(trained.encoder.transform(each.rows)) for each in (asked, there))
        distance = np.sqrt(np.maximum(_squares(ours)[:, None] + _squares(theirs)[None] - 2 * ours @ theirs.T, 0))
        near = np.argsort(distance, axis=1, kind="stable")[:, :most]
        names = [_names(each) for each in (asked, there)]
        found = np.take_along_axis(distance, near, axis=1).ravel()
        return pl.DataFrame(
            {
                "picture": np.repeat(names[0], near.shape[1]).tolist(),
                "place": np.tile(np.arange(1, near.shape[1] + 1), len(ours)),
                "similar": names[1][near.ravel()].tolist(),
                "distance": found.round(4),
                "same class": np.where(found <= self.threshold, "yes", "no").tolist(),
            }
        )

    def check(self, network: Any, encoder: Any) -> None:
        shape = out_shape_of(network, encoder)
        if not isinstance(shape, tuple) or len(shape) != 1:
            raise ArtifactError(f"the saved network's output has the shape {shape}; expected a vector")
        adapts, begins = not self.learner.compares, np.shape(np.asarray(self.start))
        if adapts != (self.start is not None) or (adapts and begins != (shape[0], 1)):
            raise ArtifactError(
                f"the saved method is {self.method!r}, and what its last layer begins with has the shape {begins}"
            )


def _squares(vectors: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.square(vectors).sum(axis=1)
    return found


def _names(found: Any) -> np.ndarray:
    return np.array(
        found.names.to_list() if found.names is not None else [f"row {row}" for row in range(len(found.rows))]
    )
