"""What a kind of data must know so that ``danlu train`` can learn from it.

Everything else (the run's folder, checkpoints and resuming, logs, the record, the command line) is the same for all kinds;
see :mod:`danlu.pipeline.train`. A new kind of data is one module with a subclass of :class:`Domain`, and its entry in
:mod:`danlu.pipeline.domains`.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from danlu.artifact import Artifact
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.judge import Judgement
from danlu.pipeline.model import Model
from danlu.tasks import Learned

__all__ = ["Domain", "Prepared"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """Data that is ready to be learnt from; a domain adds what it needs.

    Attributes:
        rows: the number of rows (or of what there is instead) of each part: ``"train"``, ``"validation"``, ``"test"``.
        split: how they were divided, in a sentence.
        notices: what the user should know.
        unit: what ``rows`` counts.
    """

    rows: dict[str, int]
    split: str
    notices: tuple[str, ...] = ()
    unit: str = "rows"

    def lines(self) -> Iterable[str]:
        """What was found, for people."""
        return ()


class Domain(abc.ABC):
    """A kind of data: tables, images, …; it has no state of its own.

    Attributes:
        kind: its tag, which an artifact holds as ``encoder["kind"]``.
        noun: what it is called, in the plural.
        uses: the settings that it uses, by their dotted names (``augment.*`` is all of a section); others are refused.
        instead: what to say of single settings that it does not use.
        reads_files: whether a source that is a text is a path.
    """

    kind: ClassVar[str]
    noun: ClassVar[str]
    uses: ClassVar[tuple[str, ...]]
    instead: ClassVar[Mapping[str, str]] = {}
    reads_files: ClassVar[bool] = True

    @abc.abstractmethod
    def claims(self, config: TrainConfig, source: Any) -> bool:
        """Whether ``source`` is of this kind, by its looks or by what the config says of it. Cheap; never raises."""

    def files(self, config: TrainConfig, source: str | Path) -> Iterable[Path]:
        """The files that the file ``source`` names and that are learnt from with it, such as pictures; its fingerprint covers them."""
        return ()

    @abc.abstractmethod
    def prepare(self, config: TrainConfig, source: Any) -> Any:
        """Read, check, divide and encode: a :class:`Prepared`. All that is fitted is fitted on training rows only.

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
        """Train by :meth:`plan`. The trained model has ``network`` (a blueprint), its ``params`` and ``state``, and ``in_shape``.

        Args:
            **how: ``callbacks``, ``checkpoint``, ``resume`` and ``display``, for :func:`danlu.fit`.
        """

    @abc.abstractmethod
    def judge(self, config: TrainConfig, prepared: Any, trained: Any) -> Judgement | None:
        """The test, beside baselines that learn from the same rows where ``config.evaluate.baselines``; None without test rows."""

    def keep(self, trained: Any, judgement: Judgement) -> Any:
        """The trained model with what the test brought that is to be saved with it."""
        return trained

    @abc.abstractmethod
    def save(
        self, folder: str | Path, trained: Any, *, metrics: Mapping[str, Any], provenance: Mapping[str, Any]
    ) -> None:
        """Write the trained model as an artifact."""

    @abc.abstractmethod
    def load(self, artifact: Artifact) -> Model:
        """The model that :meth:`save` wrote.

        Raises:
            ArtifactError: what the artifact says of its encoder or target is not right.
        """

    @abc.abstractmethod
    def model(self, trained: Any, metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> Model:
        """The trained model as the user meets it."""

    @abc.abstractmethod
    def report(self, prepared: Any, trained: Any, judgement: Judgement | None) -> dict[str, Any]:
        """The fields of :class:`~danlu.report.ReportData` that only this kind can fill: ``target`` and ``task`` at least."""
