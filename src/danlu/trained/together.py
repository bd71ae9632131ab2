"""Several trained models of one kind as one: its answers are the mean of theirs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import jax
import numpy as np
import polars as pl

from danlu.data.fields import Field
from danlu.errors import ArtifactError, ConfigError
from danlu.evaluate import Evidence
from danlu.evaluate.judgement import Simple
from danlu.nn import Parallel
from danlu.trained.encoder import Encoder
from danlu.trained.head import Head
from danlu.trained.trained import Trained

__all__ = ["Encoders", "Mean", "members_of", "together"]


def together(
    models: Sequence[Trained], *, seen: np.ndarray | None = None, held: tuple[Any, Any] | None = None
) -> Trained:
    """Several models of one kind, such as those of the folds of a cross-validation, as one model.

    Each encodes a row in its own way and has a network and a head of its own. The answer is the mean of the answers: of the
    probabilities, or of the values in their unit. It is a transformation of the four parts of a model, so that it predicts, is measured,
    saved and loaded as any other.

    Args:
        models: of the same kind, for the same answers.
        seen: hashes of the rows that they learnt from, in the encoding of the first one.
        held: answers for rows by models that did not see them, and the truth (as the head's evidence has them): intervals and sets of
            the one model follow from these, as those of cross-conformal prediction do.

    Raises:
        ConfigError: no models, or models of different kinds.

    Reference: Breiman, "Bagging predictors" (1996), Machine Learning 24, for the mean of models of different rows; Vovk, "Cross-conformal
    predictors" (2015), Annals of Mathematics and Artificial Intelligence 74.

    Example:
        >>> import tempfile, danlu
        >>> rows = {"x": [float(i) for i in range(60)], "y": ["low", "high"] * 30}
        >>> small = dict(target="y", runs=tempfile.mkdtemp(), display="none", say=lambda line: None,
        ...              model={"members": 2, "width": 8}, evaluate={"baselines": False, "report": False})
        >>> models = [danlu.train(rows, trainer={"epochs": 1, "seed": seed}, **small).model for seed in (0, 1)]
        >>> both = together(models)
        >>> each = [model.predict_values(rows) for model in models]
        >>> np.allclose(both.predict_values(rows), (each[0] + each[1]) / 2)
        True
    """
    kinds = {(each.kind, each.task, each.head.kind) for each in models}
    if len(kinds) != 1:
        raise ConfigError(f"{len(models)} models of {len(kinds)} kinds; expected one or more of the same kind")
    names = tuple(str(number) for number in range(1, len(models) + 1))
    return dataclasses.replace(
        models[0],
        network=Parallel(tuple(each.network for each in models), merge="dict", inputs=names),
        params=tuple(each.params for each in models),
        state=tuple(each.state for each in models),
        encoder=Encoders(tuple(each.encoder for each in models)),
        head=Mean(tuple(each.head for each in models), _spoken([each.head for each in models], held)),
        seen=seen,
        kept={},
    )


def members_of(trained: Trained) -> Iterator[Trained]:
    """The models that one is made of; a model that is not is one."""
    if not isinstance(trained.head, Mean):
        yield trained
        return
    for place, head in enumerate(trained.head.heads):
        yield dataclasses.replace(
            trained,
            network=trained.network.branches[place],  # type: ignore[attr-defined]
            params=trained.params[place],
            state=trained.state[place],
            encoder=trained.encoder.encoders[place],
            head=head,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Encoders:
    """The encoders of several models side by side: a row is encoded by each. What a reader asks of an encoder, the first one answers."""

    encoders: tuple[Encoder, ...]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "encoders" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.encoders[0], name)

    def _named(self, values: Iterable[Any]) -> dict[str, Any]:
        return {str(number): value for number, value in enumerate(values, 1)}

    @property
    def in_shape(self) -> dict[str, Any]:
        """The shape of a row for each."""
        return self._named(each.in_shape for each in self.encoders)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The schema, which is the same for all."""
        return self.encoders[0].fields

    @property
    def sources(self) -> dict[str, Any]:
        """Of tables: the column that each encoded column comes from, for each."""
        return self._named(each.sources for each in self.encoders)  # type: ignore[attr-defined]

    def rows(self, records: Sequence[Mapping[str, Any]], *how: Any) -> Any:
        """Records of plain data as rows."""
        return self.encoders[0].rows(records, *how)

    def transform(self, rows: Any) -> dict[str, Any]:
        """The rows as each encodes them."""
        return self._named(each.transform(rows) for each in self.encoders)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """All as plain data and arrays."""
        states = [each.state() for each in self.encoders]
        return {"kind": states[0][0]["kind"], "each": [told for told, _ in states]}, self._named(
            arrays for _, arrays in states
        )

    @classmethod
    def from_states(cls, one: Any, data: Mapping[str, Any], arrays: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`state`; ``one`` is the class of each."""
        return cls(tuple(one.from_state(told, arrays[str(number)]) for number, told in enumerate(data["each"], 1)))


class Mean(Head, fitted=("heads", "lead"), eq=False):
    """The heads of several models: the answer is the mean of theirs.

    Attributes:
        heads: of the models.
        lead: says the mean in words: it decides by the mean of their thresholds.
    """

    kind = "mean"

    heads: tuple[Any, ...]
    lead: Any

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "lead" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.lead, name)

    @property
    def verbs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of the lead."""
        return tuple(self.lead.verbs)

    def plain(self) -> Self:
        return dataclasses.replace(self, heads=tuple(each.plain() for each in self.heads), lead=self.lead.plain())

    def asking(self, **how: Any) -> Self:
        return dataclasses.replace(self, lead=self.lead.asking(**how))

    def doubts(self) -> tuple[str, ...]:
        return tuple(self.lead.doubts())

    def facts(self) -> dict[str, str]:
        return dict(self.lead.facts())

    def remarks(self, rows: Any) -> tuple[str, ...]:
        return tuple(self.lead.remarks(rows))

    @property
    def task(self) -> str:
        return str(self.heads[0].task)

    def __call__(self, outputs: Any) -> Any:
        return _mean([head(outputs[str(number)]) for number, head in enumerate(self.heads, 1)])

    def answer(self, trained: Trained, inputs: Any) -> Any:
        return _mean([each.answer(inputs[str(number)]) for number, each in enumerate(members_of(trained), 1)])

    def members(self, trained: Trained, inputs: Any) -> np.ndarray | None:
        """The members of all models."""
        found = [model.head.members(model, inputs[str(number)]) for number, model in enumerate(members_of(trained), 1)]
        return None if any(each is None for each in found) else np.concatenate(found)

    def first(self, inputs: Any) -> Any:
        return inputs["1"]

    def frame(self, answers: Any, rows: Any = None) -> pl.DataFrame:
        found: pl.DataFrame = self.lead.frame(answers, rows)
        return found

    def replies(self, answers: Any, rows: Any = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.lead.replies(answers, rows)
        return found

    def evidence(self, answers: Any, truth: Any) -> Evidence:
        found: Evidence = self.lead.evidence(answers, truth)
        return found

    def notes(self, evidence: Evidence) -> tuple[str, ...]:
        found: tuple[str, ...] = self.lead.notes(evidence)
        return found

    def simple(self, inputs: Any, evidence: Any) -> Iterable[Simple]:
        found: Iterable[Simple] = self.lead.simple(self.first(inputs), evidence)
        return found

    def beside(self, answers: Any, truth: Any, rows: Any = None) -> pl.DataFrame:
        found: pl.DataFrame = self.lead.beside(answers, truth, rows)
        return found

    @property
    def name(self) -> str:
        return str(self.heads[0].name)

    @property
    def counted(self) -> str:
        return str(self.lead.counted)

    @property
    def scale(self) -> float | None:
        found: float | None = self.heads[0].scale
        return found

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        states = [each.state() for each in self.heads]
        told = [{"kind": head.kind, **own} for head, (own, _) in zip(self.heads, states, strict=True)]
        lead, own = self.lead.state()
        arrays = {str(number): arrays for number, (_, arrays) in enumerate(states, 1)}
        return {"each": told, "lead": lead}, {**arrays, "lead": own}

    @classmethod
    def from_states(cls, one: type[Head], data: Mapping[str, Any], arrays: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`state`; ``one`` is the class of each.

        Raises:
            ArtifactError: heads of another class.
        """
        if any(told.get("kind") != one.kind for told in data["each"]) or not data["each"]:
            raise ArtifactError(f"the saved model is damaged: its heads are {str(data['each'])[:80]!r}")
        heads = tuple(one.from_state(told, arrays[str(number)]) for number, told in enumerate(data["each"], 1))
        return cls(heads, one.from_state(data["lead"], arrays["lead"]))

    def check(self, network: Any, encoder: Any) -> None:
        if not isinstance(network, Parallel) or not isinstance(encoder, Encoders):
            raise ArtifactError("the saved model is damaged: it has several heads, and not as many networks")
        for head, branch, own in zip(self.heads, network.branches, encoder.encoders, strict=True):
            head.check(branch, own)


def _spoken(heads: Sequence[Any], held: tuple[Any, Any] | None) -> Any:
    """The head that says the mean of several in words."""
    first = heads[0] if held is None else heads[0].scored(*held)
    if not hasattr(first, "threshold"):
        return first
    return dataclasses.replace(first, threshold=float(np.mean([each.threshold for each in heads])))


def _mean(answers: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *each: sum(each[1:], start=each[0]) / len(each), *answers)
