"""A run's training done again, from its first update, to be watched: nothing is written, and each update is the same to the last bit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from danlu.artifact import RunDirectory
from danlu.engine import Callback
from danlu.errors import ConfigError
from danlu.pipeline.config import TrainConfig, saved_config
from danlu.pipeline.crossed import crosses, first_fold
from danlu.pipeline.domains import domain_of
from danlu.pipeline.fingerprint import check_unchanged
from danlu.pipeline.once import is_searching, prepare
from danlu.pipeline.piped import with_kept
from danlu.rl.allow import allow as allow_modules
from danlu.trained import Say

__all__ = ["learn_again", "settings_of"]


def settings_of(run: RunDirectory) -> TrainConfig:
    """The settings of a run, with what came through pipes where the run keeps it."""
    saved, _ = saved_config(run.read_json("config.json"))
    return with_kept(saved, run.path)


def learn_again(
    run: str | Path,
    callbacks: Sequence[Callback],
    *,
    source: Any = None,
    display: str = "none",
    say: Say = print,
    allow: Sequence[str] = (),
) -> tuple[Any, Any]:
    """Train the network of a run again, with callbacks that watch it, or that stop it early.

    The data is read, divided and encoded as it was, and the updates are the same, on the same machine and versions. Of a blend only the
    network is trained again, of cross-validation the first fold.

    Args:
        run: the run's folder.
        source: the frame or arrays that it learnt from, when it was not a file.
        allow: modules that its environment may import.

    Returns:
        The prepared data, and what was learned (the trained model and its history).

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
    config = settings_of(directory)
    check_unchanged(directory, config, config.data.source if source is None else source, domain_of)
    if crosses(config):
        say("note: of the folds, the first training is done again")
    config = first_fold(config).to_learn
    if config.model.kind == "blend":
        config = config.replace(model=config.model.replace(kind="network"))
    given = config.data.source if source is None else source
    domain, prepared, plan = prepare(config, given, say=lambda line: None, begun=True)
    learned = domain.learn(
        config, prepared, plan, callbacks=list(callbacks), checkpoint=None, resume=False, display=display
    )
    return prepared, learned
