"""A run's training done again, from its first update, to be watched: nothing is written, and each update is the same to the last bit."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from danlu.artifact import RunDirectory
from danlu.engine import Callback
from danlu.engine.mesh import need_devices
from danlu.errors import ConfigError
from danlu.pipeline.branched import check_fresh, is_branch, with_start
from danlu.pipeline.compressed import check_trained_there
from danlu.pipeline.config import TrainConfig, saved_config
from danlu.pipeline.crossed import crosses, first_fold
from danlu.pipeline.domain import Domain
from danlu.pipeline.domains import domain_of
from danlu.pipeline.fingerprint import check_unchanged
from danlu.pipeline.once import is_searching, prepare
from danlu.pipeline.piped import with_kept
from danlu.pipeline.private import kept_looks
from danlu.rl.allow import allow as allow_modules
from danlu.trained import Learned, Say

__all__ = ["Again", "learn_again", "settings_of"]


def settings_of(run: RunDirectory) -> TrainConfig:
    """The settings of a run, with what came through pipes where the run keeps it."""
    saved, _ = saved_config(run.read_json("config.json"))
    return with_kept(saved, run.path)


@dataclasses.dataclass(frozen=True, eq=False)
class Again:
    """A run, ready to be trained again.

    Attributes:
        run: where it is.
        config: its settings; of a blend those of the network alone, of cross-validation those of the first fold.
        domain: its kind of data.
        prepared: its data, read, divided and encoded as it was.
        plan: its recipe.
    """

    run: RunDirectory
    config: TrainConfig
    domain: Domain
    prepared: Any
    plan: Any

    @classmethod
    def of(
        cls, run: str | Path, *, source: Any = None, say: Say = print, allow: Sequence[str] = (), how: str = ""
    ) -> Again:
        """Read the data of a run again.

        Args:
            run: the run's folder.
            source: the frame or arrays that it learnt from, when it was not a file; or the path where the file is now.
            allow: modules that its environment may import.
            how: how it is said where the data is, for the message that it is not found.

        Raises:
            ArtifactError: there is no such run.
            DataError: the data is not found.
            ConfigError: data that is not what the run was trained on; a search for settings that has not ended.
        """
        allow_modules(allow)
        directory = RunDirectory.open(run)
        if is_searching(directory):
            raise ConfigError(
                f"the run {directory.path} is a search for settings that has not ended",
                hint=f"danlu tune --resume {directory.path}",
            )
        check_fresh(directory, "trained again")
        config = settings_of(directory)
        need_devices(config.trainer.devices)
        given = config.data.source if source is None else source
        check_unchanged(directory, config, given, domain_of, again=how)
        if crosses(config):
            say("note: of the folds, the first training is done again")
        config = first_fold(config)
        config = config.replace(model=config.model.replace(kind="network"))
        with kept_looks(directory.path):
            domain, prepared, plan = prepare(config, given, say=lambda line: None, begun=True)
        return cls(directory, config, domain, prepared, plan)

    def learn(self, callbacks: Sequence[Callback], *, display: str = "none") -> Learned:
        """Train the network again with callbacks that watch it, or that stop it early; of a branch, from where it branched off.

        The updates are the same, on the same machine and versions.
        """
        if self.config.private.on:
            raise ConfigError(
                f"the run {self.run.path} was trained in private: its noise is erased, and another training would spend its budget again",
                hint="its report and danlu show have what may be told of it",
            )
        with tempfile.TemporaryDirectory(prefix="danlu-again-") as folder:
            from_start = not is_branch(self.run)
            return self.domain.learn(
                self.config.to_learn,
                self.prepared,
                self.plan,
                callbacks=list(callbacks),
                checkpoint=None if from_start else with_start(self.run, Path(folder)),
                resume=not from_start,
                display=display,
            )


def learn_again(
    run: str | Path, callbacks: Sequence[Callback], *, say: Say = print, display: str = "none", **how: Any
) -> tuple[Any, Learned]:
    """Train the network of a run again; see :meth:`Again.of` and :meth:`Again.learn`.

    Returns:
        The prepared data, and what was learned (the trained model and its history).
    """
    check_trained_there(RunDirectory.open(run), "danlu xray {}")
    again = Again.of(run, say=say, **how)
    return again.prepared, again.learn(callbacks, display=display)
