"""The interface of a kind of data that ``danlu train`` can learn from.

Everything else (the run's folder, checkpoints and resuming, logs, the test, saving and loading, the record, the command line) is the
same for all kinds; see :mod:`danlu.pipeline.train` and :mod:`danlu.trained`. A new kind of data is one module with a subclass of
:class:`Domain`, and its entry in :mod:`danlu.pipeline.domains`.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from danlu.artifact import Artifact
from danlu.auditing import Audit
from danlu.blueprint import Blueprint
from danlu.errors import ConfigError
from danlu.evaluate import Evidence
from danlu.evaluate.judgement import Judgement, Simple
from danlu.explained import Asked, Explained
from danlu.pipeline.config import TrainConfig, declare
from danlu.pipeline.space import Place, Span, rounded
from danlu.trained import Head, Learned, Read, Say, Trained
from danlu.trained.answers import check_ending, write_frame

__all__ = ["Beside", "Domain", "Option", "Prepared", "Simple"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """Data that is ready for training; a domain adds what it needs.

    Attributes:
        rows: the number of rows (or of what there is instead) of each part: ``"train"``, ``"validation"``, ``"test"``.
        split: how they were divided, in a sentence.
        notices: what the user should know.
        unit: what ``rows`` counts.
        audit: what was found wrong with the data, where that was looked for.
    """

    rows: dict[str, int]
    split: str
    notices: tuple[str, ...] = ()
    unit: str = "rows"
    audit: Audit | None = None

    def lines(self) -> Iterable[str]:
        """What was found, in words."""
        return ()


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of ``danlu train`` that sets settings of a kind of data.

    Attributes:
        name: such as ``"--horizon"``.
        setting: the setting's dotted name; empty where ``settings`` says it.
        help: a line.
        type: of its value: ``str``, ``int`` or ``float``.
        settings: the settings for a value, by their dotted names.
        flag: whether it is given without a value, which is then empty; ``--NAME=VALUE`` still gives one.
    """

    name: str
    setting: str
    help: str
    type: type = str
    settings: Callable[[Any], Mapping[str, Any]] | None = None
    flag: bool = False

    def meaning(self, text: str) -> Mapping[str, Any]:
        """The settings that the option's value sets.

        Raises:
            ConfigError: it stands for none.
        """
        try:
            value = self.type(text)
        except ValueError:
            expected = "a whole number" if self.type is int else "a number"
            raise ConfigError(
                f"{self.name} is {text!r}; expected {expected}", hint="danlu train --help shows what there is"
            ) from None
        return {self.setting: value} if self.settings is None else self.settings(value)


@dataclasses.dataclass(frozen=True)
class Beside:
    """A setting that is used only together with others: when, and what to say if it is not."""

    setting: str
    counts: Callable[[TrainConfig], bool]
    otherwise: str


class Domain(abc.ABC):
    """A kind of data: tables, images, …; it has no state of its own.

    Attributes:
        kind: its tag, which an artifact holds as ``encoder["kind"]``.
        noun: what it is called, in the plural.
        encoder, head: the classes that its models are made of.
        uses: the settings that it uses, by section (``model.width|depth``; ``augment.*`` is all of one); others are refused.
        instead: what to say of single settings that it does not use.
        sections: the sections of the settings that are its own, by name.
        options: its options on the command line.
        beside: which of its settings count only beside others.
        columns: which of its settings name columns.
        sources: which of its settings name files that are learnt from, beside the source and the test file.
        models: which of its settings name, by column, runs whose models are begun with.
        reads_files: whether a source that is a text is a path.
        takes: the types of new data that are read; empty leaves the check to :meth:`read`.
        model_name: what its model is called in comparisons.
        by_time: whether it is always divided by time, so that of several folds the last model has learnt from the most.
        searched_by: the measures of rows that were not learnt from by which ``danlu tune`` can go, beside the validation loss.
        instead_of_why: what there is where its answers are not explained one by one.
    """

    kind: ClassVar[str]
    noun: ClassVar[str]
    encoder: ClassVar[Any]
    head: ClassVar[type[Head]]
    uses: ClassVar[tuple[str, ...]]
    instead: ClassVar[Mapping[str, str]] = {}
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {}
    options: ClassVar[tuple[Option, ...]] = ()
    beside: ClassVar[tuple[Beside, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ()
    sources: ClassVar[tuple[str, ...]] = ()
    models: ClassVar[tuple[str, ...]] = ()
    reads_files: ClassVar[bool] = True
    takes: ClassVar[tuple[type, ...]] = ()
    model_name: ClassVar[str] = "the network"
    by_time: ClassVar[bool] = False
    searched_by: ClassVar[tuple[str, ...]] = ()
    instead_of_why: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, section in cls.sections.items():
            declare(name, section)

    # Learning.

    @abc.abstractmethod
    def claims(self, config: TrainConfig, source: Any) -> bool:
        """Whether ``source`` is of this kind, by its appearance or by the config. Cheap; never raises."""

    def files(self, config: TrainConfig, source: str | Path) -> Iterable[Path]:
        """The files that the file ``source`` names and that are part of the data, such as pictures; the fingerprint covers them."""
        return ()

    @abc.abstractmethod
    def prepare(self, config: TrainConfig, source: Any) -> Any:
        """Read, check, split and encode: a :class:`Prepared`. Everything is fitted on training rows only.

        Raises:
            DanluError: a source or settings that cannot be used; one clear message.
        """

    @abc.abstractmethod
    def plan(self, config: TrainConfig, prepared: Any) -> Any:
        """The recipe, such as a :class:`~danlu.tasks.Recipe`, with the config's settings.

        Raises:
            ConfigError: settings that do not fit the data; it is called before a run is begun.
        """

    @abc.abstractmethod
    def learn(self, config: TrainConfig, prepared: Any, plan: Any, **how: Any) -> Learned:
        """Train by :meth:`plan`.

        Args:
            **how: ``callbacks``, ``checkpoint``, ``resume`` and ``display``, for :func:`danlu.fit`.
        """

    @abc.abstractmethod
    def test(self, config: TrainConfig, prepared: Any, trained: Trained) -> Judgement | None:
        """The test rows' evidence about the model (see :meth:`Trained.judge <danlu.trained.Trained.judge>`); None without any."""

    def space(self, config: TrainConfig, plan: Any) -> Mapping[str, Place]:
        """Where ``danlu tune`` looks for better settings than those of ``plan``, by their dotted names; empty if it looks for none.

        By default the learning rate and the weight decay around the recipe's.
        """
        rate = getattr(plan, "learning_rate", None)
        if rate is None:
            return {}
        return {
            "trainer.learning_rate": Span(rounded(rate / 8), rounded(rate * 4), log=True),
            "trainer.weight_decay": Span(1e-4, 0.3, log=True),
        }

    def for_trial(self, config: TrainConfig) -> TrainConfig:
        """The settings of a training that is only compared with others: without what comes after it."""
        return config

    def simple(self, config: TrainConfig, prepared: Any, trained: Trained, ours: Evidence) -> Iterable[Simple]:
        """The baselines: simple models trained on the same rows and tested on the same rows as ``ours``."""
        return ()

    @abc.abstractmethod
    def report(self, prepared: Any, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        """The fields of :class:`~danlu.report.ReportData` that only this kind can fill: ``target`` and ``task`` at least."""

    def audit(self, config: TrainConfig, source: Any, *, against: Any, at: str | None, label_errors: bool) -> Audit:
        """What is wrong with the data; see :func:`danlu.audit`.

        Raises:
            ConfigError: this kind of data has no audit.
        """
        raise ConfigError(
            f"danlu audit is for tables, images and texts with labels, and not for {self.noun}",
            hint="danlu train DATA --dry-run reads them and says what it finds",
        )

    # The trained model.

    def old_encoder(self, artifact: Artifact) -> Any:
        """The encoder of a model of format version 1 or 2, in the form of today's ``state``."""
        return artifact.encoder

    def old_head(self, artifact: Artifact) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The head of a model of format version 1 or 2, in the form of today's ``state``."""
        raise NotImplementedError

    @abc.abstractmethod
    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
        """New data; see :class:`~danlu.trained.read.Reader`."""

    @abc.abstractmethod
    def purpose(self, trained: Trained) -> str:
        """What the model does, in a few words."""

    def for_simple(self, inputs: Any) -> Any:
        """Encoded rows as the simple models take them."""
        return inputs

    def write(
        self, trained: Trained, source: Any, output: str | Path, *, keep: str | Sequence[str], lenient: bool, say: Say
    ) -> str:
        """Write the answers to a file, and say what was written."""
        check_ending(output)  # before the work
        frame = trained.answers(source, keep=keep, lenient=lenient, say=say)
        write_frame(frame, output)
        return f"{frame.height:,} predictions written to {output}"

    def explain(self, trained: Trained, found: Read, asked: Asked) -> list[Explained]:
        """Why each row is answered as it is; a kind whose answers are explained one by one has a method of its own."""
        raise self.no_explanation(trained)

    @property
    def explains(self) -> bool:
        """Whether single answers are explained."""
        return type(self).explain is not Domain.explain

    def no_explanation(self, trained: Trained) -> ConfigError:
        """The error where single answers are not explained."""
        return ConfigError(
            f"single answers of a model for {self.purpose(trained)} are not explained; expected one of tables, texts, pictures, "
            "recordings or sequences with one label a row",
            hint=self.instead_of_why or "the report of the run shows some of its worst mistakes",
        )

    def next_steps(self, trained: Trained, run: str, source: str) -> tuple[tuple[str, ...], ...]:
        """Arguments of ``danlu`` to try after the training, which work as they are."""
        return (("predict", run, source, "-o", "answers.csv"),)
