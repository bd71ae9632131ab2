"""From a network's outputs to an answer: the last of the four parts of a trained model."""

from __future__ import annotations

import abc
import dataclasses
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from danlu.blueprint import checked, setting
from danlu.data.fields import Field
from danlu.errors import ArtifactError, ConfigError, DataError, unknown_name
from danlu.evaluate import Evidence
from danlu.evaluate.judgement import Simple
from danlu.trained.held import HeldOut
from danlu.typed import field_types

if TYPE_CHECKING:
    from danlu.trained.trained import Trained

__all__ = ["Head", "namespace", "out_shape_of", "pieces"]

_BESIDE = ("trained", "count", "seed", "label")  # of what is drawn, and given beside the settings


def namespace(array: Any) -> Any:
    """``jax.numpy`` for JAX's arrays, ``numpy`` for others: the functions of a head are written with it."""
    return jnp if isinstance(array, jax.Array) else np


def pieces(rows: Any, size: int | None) -> Iterator[Any]:
    """The rows in pieces of this size; None is all at once."""
    if size is None or len(rows) <= size:
        yield rows
        return
    for low in range(0, len(rows), size):
        yield rows[low : low + size]


def out_shape_of(network: Any, encoder: Any) -> Any:
    """The shape of the network's output for one encoded row.

    Raises:
        ArtifactError: the network does not take such rows.
    """
    try:
        return network.out_shape(encoder.in_shape)
    except (ConfigError, DataError) as error:
        raise ArtifactError(f"the saved network does not fit its inputs: {error.message}") from error


@dataclass_transform(frozen_default=True, field_specifiers=(setting, dataclasses.field))
class Head(abc.ABC):
    """Turns a network's outputs into an answer, and the answer into words.

    A subclass becomes a frozen dataclass and a pytree by itself. Its leaves are the fields that it names ``fitted``, which are chosen
    after the training (a threshold, the width of intervals); everything else of it is static. Called with outputs it is a pure
    function: with JAX's arrays it may be compiled, differentiated and exported together with the network; with NumPy's it computes
    in float64, as predictions do.

    Attributes:
        kind: its tag in a saved model.
        batch: rows that the network sees at once. It is fixed, so that a row's answer does not depend on the rows beside it.
        apart: whether rows of a test that were learnt from are left out of its scores. Where few columns make many rows look the
            same, those that remain would be of other outcomes than all are: then it is only said.
        piece: rows that are answered and written at a time, where answers are large; None is all.
        verbs: further methods that the user finds on the model; the first argument is the model.
        instead: what there is where no intervals or sets can be asked for.
    """

    kind: ClassVar[str]
    batch: ClassVar[int] = 256
    apart: ClassVar[bool] = True
    piece: ClassVar[int | None] = None
    verbs: ClassVar[tuple[str, ...]] = ()
    instead: ClassVar[str | None] = None

    def __init_subclass__(cls, fitted: tuple[str, ...] = (), eq: bool = True, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True, eq=eq)(cls)
        static = [field.name for field in _fields(cls) if field.name not in fitted]
        jax.tree_util.register_dataclass(cls, data_fields=list(fitted), meta_fields=static)

    @property
    @abc.abstractmethod
    def task(self) -> str:
        """The kind of answer, such as ``"binary"`` or ``"segmentation"``."""

    @abc.abstractmethod
    def __call__(self, outputs: Any) -> Any:
        """The answer for the network's ``outputs``, arrays with a leading row axis. Pure."""

    def answer(self, trained: Trained, inputs: Any) -> Any:
        """The answers for encoded rows; a head that writes in a loop (a search, a game) does it here."""
        return self(trained.outputs(inputs))

    def answer_rows(self, trained: Trained, rows: Any) -> Any:
        """The answers for rows as they were read; a head whose answers are in a row's own units converts them here."""
        return self.answer(trained, trained.encoder.transform(rows))

    def examined(self, trained: Trained, inputs: Any, truth: Any) -> Any:
        """The answers of a test on encoded rows with the truth; a head that learns from some of the test's rows does it here."""
        return self.answer(trained, inputs)

    @abc.abstractmethod
    def frame(self, answers: Any, rows: Any = None) -> pl.DataFrame:
        """The answers in the user's words.

        Args:
            rows: the rows as they were read, for what is answered in their own measure.
        """

    def lines(self, answers: Any) -> np.ndarray | None:
        """How many lines of the :meth:`frame` each answer has; None where it is one."""
        return None

    def labels_of(self, count: int, label: Any = None) -> list[str] | None:
        """Of a head that draws (its verb ``sample``): the label of each of so many things; None where they have none."""
        return None

    def check_settings(self, how: Mapping[str, Any]) -> None:
        """Refuse what is no setting of the verb ``sample``, or what it is given beside its settings.

        Raises:
            ConfigError: see above.
        """
        known = inspect.signature(self.sample).parameters  # type: ignore[attr-defined]
        open_ended = any(each.kind == each.VAR_KEYWORD for each in known.values())
        own = [name for name in known if name not in _BESIDE]
        for name in how:
            if name in _BESIDE:
                raise ConfigError(
                    f"{name} is no setting of the drawing, and is given beside them", hint=f"--{name} of danlu sample"
                )
            if name not in own and not open_ended:
                raise unknown_name("setting of sample", name, own)

    def replies(self, answers: Any, rows: Any = None) -> list[dict[str, Any]]:
        """The answers as plain data, one for each row."""
        return self.frame(answers, rows).to_dicts()

    @abc.abstractmethod
    def evidence(self, answers: Any, truth: Any) -> Evidence:
        """The evidence of a test: the answers with the encoded true ones."""

    def decided(self, evidence: Any, rows: Any) -> Any:
        """The evidence with decisions that go by the rows as they were read, such as thresholds of groups."""
        return evidence

    @property
    def needs(self) -> tuple[Field, ...]:
        """What it needs of a row beside what the encoder takes."""
        return ()

    def fitted(self, held: HeldOut) -> Self:
        """The head with values that are chosen on rows not used for training, such as a threshold.

        Args:
            held: what this head, with nothing fitted yet, answers for them.
        """
        return self

    def plain(self) -> Self:
        """The head for another model's outputs, without what was fitted to those of this one."""
        return self

    def asking(self, *, interval: float | None = None, sets: float | None = None, **how: Any) -> Self:
        """The head that writes an interval or a set of classes of a level beside its answers; without a level it is this one.

        Raises:
            ConfigError: it gives none.
        """
        if interval is None and sets is None:
            return self
        what = "set of classes" if interval is None else "interval"
        raise ConfigError(f"a model for {self.task} gives no {what} of a level that is asked for", hint=self.instead)

    def doubts(self) -> tuple[str, ...]:
        """What is to be said of the level that was asked for, such as that there were too few rows for it."""
        return ()

    def remarks(self, rows: Any) -> tuple[str, ...]:
        """What is to be said of the answers for these rows, as they were read, such as that some are of a group without scores."""
        return ()

    def scored(self, answers: Any, truth: Any) -> Self:
        """The head with the scores of rows that were answered by models which did not see them, for its intervals and sets.

        Args:
            answers, truth: as its :meth:`evidence` has them.
        """
        return self

    def facts(self) -> dict[str, str]:
        """What was fitted to the rows that were not learnt from, in words, by its name."""
        return {}

    def members(self, trained: Trained, inputs: Any) -> np.ndarray | None:
        """What each member of a model answers by itself: probabilities ``(members, rows, classes)``, or values ``(members, rows)``; None
        where that cannot be compared."""
        return None

    def first(self, inputs: Any) -> Any:
        """Encoded rows by which rows are known again; of several models, those of the first one."""
        return inputs

    def marks(self, truth: Any) -> Any:
        """What of the truth rows are known again by, beside their encoding: all of it."""
        return truth

    def tested(self, evidence: Evidence) -> str:
        """How much was tested, where that is not the number of rows of the evidence."""
        return ""

    def notes(self, evidence: Evidence) -> tuple[str, ...]:
        """Notes on a test, such as that it has no row of some class."""
        return ()

    def simple(self, inputs: Any, evidence: Any) -> Iterable[Simple]:
        """Simple models that need no training, on the rows of ``evidence``: baselines for every evaluation of this model."""
        return ()

    def beside(self, answers: Any, truth: Any, rows: Any = None) -> pl.DataFrame:
        """The answers of a test with the true ones, as they are written to ``predictions.csv``."""
        return self.frame(answers, rows)

    @property
    def name(self) -> str:
        """The name of the answer, such as the target's column; empty if it has no single name."""
        return ""

    @property
    def counted(self) -> str:
        """The class, of two, that precision, recall and F1 are of; empty if there is none such."""
        return ""

    @property
    def scale(self) -> float | None:
        """The spread of a quantity, which decides how many digits are meaningful."""
        return None

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The head as plain data and arrays."""
        told: dict[str, Any] = {}
        arrays: dict[str, np.ndarray] = {}
        for field in _fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                told[field.name] = list(value)
            elif np.ndim(value):
                arrays[field.name] = np.asarray(value)
            else:
                told[field.name] = value.item() if hasattr(value, "item") else value
        return told, arrays

    @classmethod
    def from_state(cls, data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """The inverse of :meth:`state`: every field is of its type, within its rules, and no name is there twice.

        A field that the file does not have is one that an older danlu did not know: it has its default.

        Raises:
            ArtifactError: it is damaged.
        """
        found: dict[str, Any] = {}
        given = {**data, **arrays}
        for field in _fields(cls):
            if field.name not in given and field.default is not dataclasses.MISSING:
                continue
            value, annotation = given.get(field.name), field_types(cls)[field.name]
            try:
                value = checked("head", field.name, value, annotation, field.metadata.get("rules"))
            except ConfigError as error:
                raise ArtifactError(f"the saved model is damaged: {error.message}") from error
            if annotation is Any and value is None:
                raise ArtifactError(f"the saved model is damaged: its head has no {field.name}")
            if annotation == tuple[str, ...] and (not value or len(set(value)) < len(value)):
                raise ArtifactError(f"the saved {field.name} are {str(value)[:80]}; expected different names")
            found[field.name] = value
        return cls(**found)

    @abc.abstractmethod
    def check(self, network: Any, encoder: Any) -> None:
        """Refuse a network whose outputs do not fit this head, or an encoder that does not fit it.

        Raises:
            ArtifactError: see above.
        """


def _fields(head: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(head)
