"""A search in Optuna's storage: batches of trials that are asked for, taken over from dead processes, and told."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.errors import ArtifactError, ConfigError, first_line
from danlu.pipeline.space import Place
from danlu.tuning.presence import Presence
from danlu.tuning.sampler import distribution_of, optuna, sampler_of, value_of
from danlu.tuning.storage import storage_of

__all__ = ["Study", "Told", "Trial"]

_STUDY = "danlu tune"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial of a batch: its number in the study, and the settings to try."""

    number: int
    values: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Told:
    """What is known of a trial.

    Attributes:
        number: in the study.
        values: the settings, by their dotted names.
        state: ``"complete"``, ``"stopped"`` (others of its batch were better), ``"diverged"`` or ``"running"``.
        score: its last; None of one that diverged or has not ended.
        scores: after so many epochs.
        batch: the number of the first trial of its batch.
        seconds: that its batch took, per trial.
    """

    number: int
    values: Mapping[str, Any]
    state: str
    score: float | None
    scores: Mapping[int, float]
    batch: int
    seconds: float


class Study:
    """A search in a storage, which several processes may share.

    Args:
        storage: a file (SQLite where its name ends in .db, .sqlite or .sqlite3, else a journal), or a URL of a data base.
        facts: what the search is of; a storage of another one is refused.
        space: where it looks, by dotted names.
        structure: those of ``space`` that a batch of trials has in common.
        first: the settings of the first trial.
        higher: whether a larger score is better.
        seed: decides what is tried.
        size: trials of a batch.

    Raises:
        ConfigError: the storage holds another search.
        ArtifactError: it cannot be read or written.
    """

    def __init__(
        self,
        storage: str | Path,
        *,
        facts: Mapping[str, Any],
        space: Mapping[str, Place],
        structure: Sequence[str],
        first: Mapping[str, Any],
        higher: bool,
        seed: int,
        size: int,
    ) -> None:
        self.space, self.structure, self.size = dict(space), tuple(structure), size
        self.higher = higher
        self._fixed: dict[int, Mapping[str, Any]] = {0: {name: self.space[name].nearest(first[name]) for name in space}}
        library = optuna()
        sampler = sampler_of(seed, random=max(10, 2 * size), fixed=self._fixed)
        try:
            self._study = library.create_study(
                study_name=_STUDY,
                storage=storage_of(storage),
                direction="maximize" if higher else "minimize",
                sampler=sampler,
                pruner=library.pruners.NopPruner(),
                load_if_exists=True,
            )
        except (ArtifactError, ConfigError):
            raise
        except Exception as error:  # of a data base, of a journal that is none
            said = first_line(error)
            raise ArtifactError(f"cannot open the study in {storage}: {said}", hint="name another --storage") from error
        self._join(storage, {**facts, "seed": seed, "higher": higher, "space": {k: str(v) for k, v in space.items()}})
        self.presence = Presence(self._study)

    def _join(self, storage: Any, facts: Mapping[str, Any]) -> None:
        begun = bool(
            self._study.get_trials(deepcopy=False)
        )  # before it is looked whose they are: another process may begin just now
        known = self._study.user_attrs.get("danlu")
        if known is None:
            if begun:
                raise ConfigError(f"{storage} holds a study of something else", hint="name another --storage")
            self._study.set_user_attr("danlu", dict(facts))
            known = self._study.user_attrs["danlu"]
        for name in facts:
            if known.get(name) != facts[name]:
                what = f"with {name} {known.get(name)!r}; this one has {facts[name]!r}"
                raise ConfigError(
                    f"{storage} holds a search {'of other data' if name == 'data' else what}",
                    hint="name another --storage, or give the same data and settings to go on with that search",
                )

    # Batches.

    def batch(self, most: int | None) -> list[Trial]:
        """The next batch of trials to run: one that a dead process left, or a new one; empty when there are ``most`` trials."""
        self.presence.sign_of_life()
        every = self._study.get_trials(deepcopy=False)
        trials, left = [each for each in every if each.state.name != "FAIL"], self._left(every)
        if left is not None:
            own = [each for each in trials if self._batch_of(each) == left]
            return self._whole(left, own, own[0].user_attrs.get("size", self.size), most)
        room = self.size if most is None else min(self.size, most - self._counted(trials))
        if room <= 0:
            return []
        return self._whole(None, [], room, most)

    def _left(self, trials: Sequence[Any]) -> int | None:
        """The batch that a dead process left, if there is one."""
        known, refused = self._study.user_attrs, set()
        for each in trials:
            if each.state.name == "RUNNING" and self.presence.dead(each.user_attrs.get("process"), known):
                batch = self._batch_of(each, trials)
                if batch not in refused and self.presence.takes_over(batch):
                    return batch
                refused.add(batch)
        return None

    def under_way(self) -> int:
        """How many trials have been begun, by any process, and not ended."""
        return sum(each.state.name == "RUNNING" for each in self._study.get_trials(deepcopy=False))

    def _batch_of(self, trial: Any, trials: Sequence[Any] = ()) -> int:
        """The batch of a trial; one that a process died over before it said so belongs to the batch before it, if that is not full."""
        batch = trial.user_attrs.get("batch", trial.number if "size" in trial.user_attrs else None)
        if batch is None:  # of a study that an older version began
            before = trials[trial.number - 1].user_attrs.get("batch") if 0 < trial.number <= len(trials) else None
            full = before is None or trial.number - before >= trials[before].user_attrs.get("size", self.size)
            batch = trial.number if full else before
            self._study._storage.set_trial_user_attr(trial._trial_id, "batch", batch)
        return int(batch)

    @staticmethod
    def _counted(trials: Sequence[Any]) -> int:
        return sum(each.state.name not in ("FAIL", "WAITING") for each in trials)

    def _whole(self, batch: int | None, begun: Sequence[Any], size: int, most: int | None) -> list[Trial]:
        """The trials of a batch, with those that it still lacks; their settings are drawn one trial after the other."""
        library = optuna()
        found: list[Any] = []
        asked = [library.trial.Trial(self._study, each._trial_id) for each in begun]
        while len(found) < size:
            new = not asked
            trial = asked.pop(0) if asked else self._asked(batch, size)
            if (
                new
                and most is not None
                and self._counted(self._study.get_trials(deepcopy=False)[: trial.number]) >= most
            ):
                self._study.tell(trial, state=library.trial.TrialState.FAIL)  # another process was faster
                break
            batch = trial.number if batch is None else batch
            attributes = {"batch": batch, "process": self.presence.owner} | (
                {"size": size} if trial.number == batch else {}
            )
            ended = begun[len(found)].state.is_finished() if len(found) < len(begun) else False
            for name, value in attributes.items():
                if not ended and trial.user_attrs.get(name) != value:
                    trial.set_user_attr(name, value)
            if found and trial.number not in self._fixed:
                self._fixed[trial.number] = {name: found[0].params[name] for name in self.structure}
            for name, place in self.space.items():
                trial._suggest(name, distribution_of(place))
            found.append(trial)
        return [Trial(each.number, self.values(each.params)) for each in found]

    def _asked(self, batch: int | None, size: int) -> Any:
        """A new trial that belongs to this process and its batch from the first moment: else another process would take it for left."""
        library, storage = optuna(), self._study._storage
        own = {"process": self.presence.owner} | ({"size": size} if batch is None else {"batch": batch})
        state = library.trial.TrialState.RUNNING
        template = library.trial.create_trial(state=state, user_attrs=own)
        number = storage.create_new_trial(self._study._study_id, template_trial=template)
        return library.trial.Trial(self._study, number)

    def values(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The settings for what was drawn."""
        return {name: value_of(place, drawn[name]) for name, place in self.space.items()}

    def tell(self, trial: Trial, scores: Mapping[int, float], *, complete: bool, seconds: float) -> None:
        """The end of a trial: its scores after so many epochs; without any it has diverged."""
        library = optuna()
        states, storage = library.trial.TrialState, self._study._storage
        identity = self._study.get_trials(deepcopy=False)[trial.number]
        if identity.state.is_finished():
            return  # by a process that died over its batch
        with contextlib.suppress(library.exceptions.UpdateFinishedTrialError):  # another process told it just now
            storage.set_trial_user_attr(identity._trial_id, "seconds", round(seconds, 2))
            for epochs, score in scores.items():
                storage.set_trial_intermediate_value(identity._trial_id, epochs, float(score))
            if complete and scores:
                self._study.tell(trial.number, list(scores.values())[-1], skip_if_finished=True)
            else:
                self._study.tell(trial.number, state=states.PRUNED, skip_if_finished=True)

    # What is known.

    def told(self) -> list[Told]:
        """All trials, in their order."""
        return [self._told(each) for each in self._study.get_trials(deepcopy=False) if each.state.name != "FAIL"]

    def _told(self, trial: Any) -> Told:
        scores = dict(sorted(trial.intermediate_values.items()))
        state = {"COMPLETE": "complete", "PRUNED": "stopped" if scores else "diverged"}.get(trial.state.name, "running")
        values = self.values(trial.params) if set(self.space) <= set(trial.params) else {}
        return Told(
            trial.number,
            values,
            state,
            list(scores.values())[-1] if scores and state != "running" else None,
            scores,
            int(trial.user_attrs.get("batch", trial.number)),
            float(trial.user_attrs.get("seconds", 0.0)),
        )

    def best(self) -> Told | None:
        """The best of the trials that went furthest: a score after few epochs is not compared with one after all."""
        ended = [each for each in self.told() if each.score is not None]
        complete = [each for each in ended if each.state == "complete"]
        furthest = max((max(each.scores) for each in ended), default=0)
        candidates = complete or [each for each in ended if max(each.scores) == furthest]
        sign = -1.0 if self.higher else 1.0
        return min(candidates, key=lambda each: (sign * (each.score or 0.0), each.number), default=None)

    def importances(self) -> dict[str, float]:
        """The share of the scores' variance that each setting accounts for, the largest first; empty where there are too few trials.

        By the scores after the first epochs, which every trial has and which are alike.

        Reference:
            Hutter, Hoos & Leyton-Brown, "An efficient approach for assessing hyperparameter importance" (ICML 2014): functional
            analysis of variance over a forest.
        """
        library = optuna()
        known = [each for each in self._study.get_trials(deepcopy=False) if each.intermediate_values]
        known = [each for each in known if set(each.params) == set(self.space)]
        if len(known) < _FEWEST or len({each.intermediate_values[min(each.intermediate_values)] for each in known}) < 2:
            return {}
        alike = library.create_study(direction=self._study.direction, sampler=library.samplers.RandomSampler(seed=0))
        for each in known:
            alike.add_trial(
                library.trial.create_trial(
                    params=each.params,
                    distributions=each.distributions,
                    value=each.intermediate_values[min(each.intermediate_values)],
                )
            )
        evaluator = library.importance.FanovaImportanceEvaluator(n_trees=32, seed=0)
        found: dict[str, float] = library.importance.get_param_importances(alike, evaluator=evaluator)
        return found


_FEWEST = 8  # trials from which it is said what mattered
