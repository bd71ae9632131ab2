"""A training that goes on from the middle of another one with other settings: what can be changed there, and the new run."""

from __future__ import annotations

import dataclasses
import filecmp
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from danlu.artifact import RunDirectory
from danlu.engine.training import CHECKPOINT
from danlu.errors import CheckpointError, ConfigError, DataError, shorten
from danlu.pipeline.again import Again, settings_of
from danlu.pipeline.branched import BRANCH, START, Branch
from danlu.pipeline.config import TrainConfig, config_from, setting_names
from danlu.pipeline.crossed import FOLDS, crosses
from danlu.pipeline.domains import domain_of
from danlu.pipeline.once import TrainResult, begin
from danlu.pipeline.plain import plain
from danlu.pipeline.train import train_from
from danlu.pipeline.used import matches, uses
from danlu.trained import Say

__all__ = ["CHANGEABLE", "Branching", "check_same_arrays"]

CHANGEABLE = {
    "trainer.learning_rate": "the peak of the schedule, which goes on where it is",
    "trainer.weight_decay": "from this update on",
    "trainer.clip_norm": "from this update on",
    "trainer.beta2": "from this update on; the means so far are kept",
    "trainer.epochs": "the schedule is that of so many epochs",
    "trainer.patience": "epochs that were no better already count",
    "trainer.precision": "from this update on",
    "model.dropout": "from this update on",
    "augment.*": "from this update on, where the network has layers for it already",
}
"""The settings that can change in the middle of a training, and what the change means."""

_WHY = {
    "trainer.batch_size": "the schedule and the order of the rows are counted in batches",
    "trainer.seed": "it also decides which rows are tested",
    "trainer.loss": "the best epoch so far was chosen by another loss",
    "trainer.average": "the mean of the weights begins with the training",
    "trainer.snapshots": "the cycles begin with the training",
}
_AFTER = ("answers", "evaluate")  # sections that count only after the training


@dataclasses.dataclass(frozen=True, eq=False)
class Branching:
    """A change of settings in the middle of a run's training, checked.

    Attributes:
        run: the run.
        config: its settings, with the change.
        names: the settings that are changed.
    """

    run: RunDirectory
    config: TrainConfig
    names: tuple[str, ...]

    @classmethod
    def of(cls, run: RunDirectory, settings: Mapping[str, Any], *, source: Any = None) -> Branching:
        """Check what can be checked before the data is read.

        Args:
            settings: sections of the config: ``{"trainer": {"learning_rate": 1e-3}}``.
            source: of a run that learnt from data in memory; or the path where its data is now.

        Raises:
            ConfigError: a setting that there is not, or that cannot change in the middle of a training; the message lists what can.
        """
        given: Any = plain(settings)
        config_from(given)  # says what is no setting, or no value of one
        config = settings_of(run)
        if isinstance(source, str | Path):
            config = config.with_setting("data.source", str(source))
        whole = config.as_dict()
        wanted = config_from({**whole, **{name: {**whole[name], **part} for name, part in given.items()}})
        names = [f"{section}.{name}" for section, part in given.items() for name in part]
        domain = domain_of(config, config.data.source if source is None else source)
        _check(run, config, names, domain)
        return cls(run, wanted, tuple(names))

    def planned(self, again: Again, epoch: int) -> tuple[Any, dict[str, tuple[Any, Any]]]:
        """The recipe with the change, and the change: of each setting the value before and after, the recipe's where none is set.

        Args:
            again: the run, ready to be trained again.
            epoch: the one (from 0) in which the change is made.

        Raises:
            ConfigError: a value that does not fit the data; a training that would have ended before.
        """
        config = self.config.replace(model=self.config.model.replace(kind="network"))
        plan = again.domain.plan(config, again.prepared)
        if plan.epochs <= epoch:
            raise ConfigError(
                f"trainer.epochs is {plan.epochs}, and the update is of epoch {epoch + 1}: the training would have ended before",
                hint=f"expected {epoch + 1} epochs or more",
            )
        changes = {name: (_value(again.config, again.plan, name), _value(config, plan, name)) for name in self.names}
        for name, (old, new) in changes.items():
            if config.setting(name) is None and old == new:
                off = (
                    "a large number, such as 1e9, never scales it down"
                    if name == "trainer.clip_norm"
                    else "give a value"
                )
                raise ConfigError(
                    f"{name}=none leaves it to the recipe, which takes {shorten(new)}, as the run did: nothing would change",
                    hint=off,
                )
        return plan, changes

    def train(
        self,
        again: Again,
        branch: Branch,
        start: Path,
        *,
        name: str | None = None,
        root: str | Path | None = None,
        source: Any = None,
        display: str = "none",
        say: Say = print,
        allow: Sequence[str] = (),
    ) -> TrainResult:
        """Go on from there, in a run of its own: trained, tested and recorded as every run.

        Args:
            branch: what the new run keeps about where it comes from.
            start: the checkpoint to go on from.
            source: as for :meth:`of`.
            name: of the new run.
            root: the folder that it is put in; None is the one of the old run.

        Raises:
            DanluError: it cannot go on from there; the new run is then taken away again.
        """
        source = None if isinstance(source, str | Path) else source  # the settings have it
        folder = self.run.path.parent if root is None else Path(root)
        given = self.config.data.source if source is None else source
        kept = (self.config.data.source, self.config.data.test)
        piped = tuple(Path(each) for each in kept if each and Path(each).parent == self.run.path)
        run = begin(
            self.config,
            given,
            again.domain,
            folder,
            name or _free_name(folder, f"{self.run.name}-branch-{branch.step}"),
            piped,
            {BRANCH: branch.as_dict()},
            files={START: start},
        )
        try:
            found: Any = train_from(
                settings_of(run), source, display=display, say=say, resume=run, allow=allow, known=True
            )
        except (ConfigError, CheckpointError, DataError):
            if not _has_gone_on(run):
                shutil.rmtree(run.path)
            raise
        return found


def _has_gone_on(run: RunDirectory) -> bool:
    """Whether a branch has more than the state that it starts from."""
    last = run.checkpoints_path / CHECKPOINT
    return run.artifact_path.exists() or (last.is_file() and not filecmp.cmp(last, run.path / START, shallow=False))


def _free_name(folder: Path, stem: str) -> str:
    number, name = 1, stem
    while (folder / name).exists():
        number += 1
        name = f"{stem}-{number}"
    return name


def _value(config: TrainConfig, plan: Any, name: str) -> Any:
    """The value of a setting in a recipe."""
    section, _, own = name.partition(".")
    if section not in ("trainer", "model"):
        return config.setting(name)
    found = getattr(plan, own, getattr(getattr(plan, "model", None), own, None))
    return config.setting(name) if found is None else found


def _check(run: RunDirectory, config: TrainConfig, names: Sequence[str], domain: Any) -> None:
    """Refuse changes that cannot be made in the middle of a training.

    Args:
        config: the settings of the run.
        names: the settings that are to change.

    Raises:
        ConfigError: see above; the message lists what can be changed.
    """
    can = [each for each in CHANGEABLE if any(uses(domain, name) for name in setting_names() if matches(name, (each,)))]
    listed = f"what can be: {', '.join(can)}"
    if crosses(config):
        raise ConfigError(
            f"the run {run.path} is a cross-validation; expected one training",
            hint=f"its folds are: {run.path / FOLDS}/1, …",
        )
    for setting, why in (
        ("trainer.minutes", "it trains further networks until the time is over"),
        ("forecast.refit", "it trains a second time, from the start; such a run needs forecast.refit=false"),
    ):
        if uses(domain, setting) and config.setting(setting):
            raise ConfigError(
                f"the run {run.path} has {setting}={shorten(config.setting(setting))}: {why}, and cannot branch off"
            )
    for name in names:
        if not matches(name, can):
            section = name.partition(".")[0]
            why = _WHY.get(name) or (
                "it counts after the training" if section in _AFTER else "it decides what the training began with"
            )
            raise ConfigError(f"{name} cannot be changed in the middle of a training: {why}", hint=listed)
        if not uses(domain, name):
            raise ConfigError(f"{name} is not used for {domain.noun}", hint=listed)
    if "trainer.epochs" in names and (config.trainer.average == "swa" or config.trainer.snapshots is not None):
        raise ConfigError(
            "trainer.epochs cannot be changed in the middle of this training: its mean or its cycles are counted in epochs",
            hint=f"what can be: {', '.join(name for name in can if name != 'trainer.epochs')}",
        )
    if "trainer.patience" in names and config.trainer.snapshots is not None:
        raise ConfigError(
            "trainer.patience would not be used: with trainer.snapshots the training goes through all cycles"
        )


def check_same_arrays(old: Any, new: Any, in_shape: Any, told: str) -> None:
    """Refuse a change after which the network would have other arrays.

    Args:
        old, new: the networks.
        told: the change, in words.

    Raises:
        ConfigError: see above.
    """
    shapes: list[Any] = [
        jax.eval_shape(lambda key, model=model: model.init(key, in_shape)[:2], jax.random.key(0))
        for model in (old, new)
    ]
    forms: list[Any] = [jax.tree.structure(each) for each in shapes]
    if forms[0] != forms[1] or jax.tree.leaves(shapes[0]) != jax.tree.leaves(shapes[1]):
        raise ConfigError(
            f"{told}: the network would have other arrays than the run's, and cannot go on from its weights",
            hint="train a new run with the setting: danlu train --config RUN/config.json …",
        )
