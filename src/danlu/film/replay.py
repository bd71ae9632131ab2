"""A training brought back to one of its updates, to the last bit, and from there on with other settings."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from danlu.artifact import RunDirectory
from danlu.errors import ConfigError
from danlu.files import write_atomic
from danlu.film.moment import Moment, Pause, check_step
from danlu.film.proof import Proof, Witness, digest, kept_network
from danlu.pipeline import TrainResult, compare_runs, load_model
from danlu.pipeline.again import Again, settings_of
from danlu.pipeline.branched import Branch, in_words
from danlu.pipeline.branching import Branching, check_same_arrays
from danlu.pipeline.compressed import check_trained_there
from danlu.pipeline.crossed import FOLDS, crosses
from danlu.pipeline.domains import domain_of
from danlu.pipeline.effort import environment
from danlu.pipeline.used import uses
from danlu.prose import padded, wide, wrapped
from danlu.report.compared import Compared
from danlu.trained import Trained
from danlu.trained.read import Say, warn

__all__ = ["Replayed", "replay"]

_LISTED = 12  # rows of a batch that are listed


@dataclasses.dataclass(frozen=True, eq=False)
class Replayed:
    """A run brought back to one of its updates; printing it shows the facts, :meth:`save` writes the page.

    Attributes:
        run: the run.
        moment: the update: the state before it, its rows, its loss, its norms.
        proof: whether all of it is the run's to the last bit.
        model: the model with the weights before the update; its head (thresholds, calibration) is the one fitted at the end.
        numbers: of the rows of the batch in the data (the first is 1), for each network; None where they are not known.
        history: the run's rows, one an epoch.
        settings: what was changed there, by dotted names, the value before and after; empty where nothing was.
        branch: the training that went on from there with the change; None without one.
        compared: both futures, as :func:`danlu.compare_runs` compares them; None without a branch.
    """

    run: RunDirectory
    moment: Moment
    proof: Proof
    model: Trained
    numbers: tuple[np.ndarray, ...] | None
    history: Sequence[Mapping[str, Any]]
    settings: Mapping[str, tuple[Any, Any]] = dataclasses.field(default_factory=dict)
    branch: TrainResult | None = None
    compared: Compared | None = None

    @property
    def exact(self) -> bool:
        """Whether the replay is the run to the last bit."""
        return self.proof.exact

    def facts(self) -> list[tuple[str, str]]:
        """What the update did, in words."""
        moment, shares = self.moment, self.moment.shares
        found = [
            ("number of the update", f"{moment.step:,} (the first is 0), in epoch {moment.epoch + 1}"),
            ("loss of its batch", _spread([share.loss for share in shares])),
        ]
        if shares[0].gradient is not None:
            norms = [float(share.gradient or 0.0) for share in shares]
            limit = self._hyperparameter("max_norm")
            clipped = "" if limit is None else _clipped(norms, limit)
            found.append(("norm of the gradient", _spread(norms) + clipped))
        found += [
            ("norm of the change", _spread([share.update for share in shares])),
            ("norm of the weights", _spread([share.weights for share in shares])),
            ("learning rate", _spread(np.atleast_1d(moment.learning_rate).tolist())),
        ]
        decay = self._hyperparameter("weight_decay")
        if decay is not None:
            found.append(("weight decay", f"{decay:.4g}"))
        if len(shares) > 1:
            found.append(("side by side", f"{len(shares)} networks; a span is over them"))
        return found

    def hardest(self, most: int = _LISTED) -> list[tuple[int, float]]:
        """The rows of the first network's batch with the largest losses: their numbers in the data (from 1), and the losses."""
        share = self.moment.shares[0]
        if self.numbers is None or share.losses is None:
            return []
        order = np.argsort(-share.losses, kind="stable")[:most]
        return [(int(self.numbers[0][place]), float(share.losses[place])) for place in order]

    def page(self) -> str:
        """The page: one HTML file that needs nothing but a browser."""
        from danlu.film.replayed_page import replayed_page

        return replayed_page(self)

    def save(self, path: str | Path) -> Path:
        """Write the page.

        Raises:
            ArtifactError: the file cannot be written.
        """
        write_atomic(path, self.page())
        return Path(path)

    def _hyperparameter(self, name: str) -> float | None:
        from danlu.optim import hyperparameter

        try:
            return float(np.mean(np.asarray(hyperparameter(self.moment.state.opt_state, name))))
        except ConfigError:
            return None

    def __str__(self) -> str:
        facts = self.facts()
        width = max(wide(name) for name, _ in facts)
        lines = [f"{self.run.path}, update {self.moment.step:,}"]
        lines += [wrapped(sentence, indent="  ") for sentence in self.proof.sentences]
        lines += ["", *(wrapped(f"{padded(name, width)}  {told}", indent=" " * (width + 2)) for name, told in facts)]
        if self.numbers is not None:
            lines += ["", wrapped(self._rows_in_words(), indent="  ")]
        if self.branch is not None and self.compared is not None:
            lines += ["", wrapped(f"from there on: {in_words(self.settings)}", indent="  "), "", str(self.compared)]
        return "\n".join(lines)

    def _rows_in_words(self) -> str:
        numbers = (self.numbers or (np.zeros(0, int),))[0]
        batch = "the batch of the first network" if len(self.moment.shares) > 1 else "the batch"
        hardest = self.hardest(_LISTED)
        if hardest:
            listed = ", ".join(f"{row} ({loss:.3g})" for row, loss in hardest)
            return f"{batch} had {len(numbers):,} rows; those with the largest loss (the first row of the data is 1): {listed}"
        listed = ", ".join(map(str, [*numbers[:_LISTED], *["…"] * (len(numbers) > _LISTED)]))
        return f"{batch} had {len(numbers):,} rows (the first row of the data is 1): {listed}"


def _spread(values: Sequence[float]) -> str:
    """One number, or the mean of several with their span."""
    low, high = min(values), max(values)
    return f"{low:.5g}" if low == high else f"{float(np.mean(values)):.5g} ({low:.4g} to {high:.4g})"


def _clipped(norms: Sequence[float], limit: float) -> str:
    over = sum(norm > limit for norm in norms)
    if not over:
        return f"; below the limit {limit:g}"
    return f"; scaled down to {limit:g}" + ("" if len(norms) == 1 else f", in {over} of {len(norms)} networks")


def replay(
    run: str | Path,
    step: int,
    *,
    stop: bool = False,
    name: str | None = None,
    runs: str | Path | None = None,
    source: Any = None,
    display: str = "none",
    say: Say = warn,
    allow: Sequence[str] = (),
    **settings: Mapping[str, Any],
) -> Replayed:
    """Bring a run's training back to one of its updates, and if settings are given, go on from there with them.

    The network is trained again as it was, from the start (a branch from where it branched off), with the same rows in the same order
    and the same random draws. Each epoch is compared with the run's record, and at the end the weights with the saved ones: on the same
    machine and versions both are equal to the last bit. With settings a second training, the *branch*, goes on from the state before
    the update, and is tested and recorded in a run of its own, which says where it comes from.

    Args:
        run: the run's folder.
        step: the update, from 0.
        stop: train no further than to this update: the weights at the end are then not compared.
        name: of the branch's run; None is ``RUN-branch-STEP``.
        runs: the folder that the branch's run is put in; None is the one that the run is in.
        source: the frame or arrays that the run learnt from, where it was not a file; or the path where the file is now.
        display, say: how the training is shown, and what is called with each notice.
        allow: modules that its environment may import.
        **settings: sections of the config with the change: ``trainer={"learning_rate": 1e-3}``; see
            :data:`danlu.pipeline.branching.CHANGEABLE` for what can change.

    Raises:
        ConfigError: no such update; a setting that cannot change in the middle of a training.
        ArtifactError: there is no such run.
        DataError: its data is not found.

    Example:
        >>> import tempfile, danlu
        >>> table = {"x": [float(i % 20) for i in range(80)], "y": ["low", "high"] * 40}
        >>> result = danlu.train(table, target="y", runs=tempfile.mkdtemp(), name="a", display="none", say=lambda line: None,
        ...                      model={"kind": "network", "members": 2, "width": 8}, trainer={"epochs": 2},
        ...                      evaluate={"baselines": False, "report": False})
        >>> found = danlu.replay(result.run.path, 1, source=table)
        >>> found.exact, found.moment.step, len(found.moment.shares)  # five networks, one for each fold
        (True, 1, 5)
    """
    step, directory = check_step(step), RunDirectory.open(run)
    check_trained_there(directory, f"danlu replay {{}} --step {step}")
    config = settings_of(directory)
    domain = domain_of(config, config.data.source if source is None else source)
    if not settings and (name is not None or runs is not None):
        raise ConfigError(
            "a name and a folder are for the run of a branch; expected a setting that is changed with them"
        )
    if crosses(config) and not settings:
        say("note: of the folds, the first training is done again")
        return replay(
            directory.path / FOLDS / "1", step, stop=stop, source=source, display=display, say=say, allow=allow
        )
    if not uses(domain, "trainer.epochs"):
        raise ConfigError(
            f"the run {directory.path} is of {domain.noun}, whose updates are made within steps of an environment; expected a network "
            "that learnt from data"
        )
    branching = Branching.of(directory, settings, source=source) if settings else None
    history = directory.read_metrics()
    how = f"danlu.replay({str(directory.path)!r}, {step}, source=…); on the command line --data FILE"
    epoch = _epoch_of(directory, history, step)
    again = Again.of(run, source=source, say=say, allow=allow, how=how)
    plan: Any = None
    changes: dict[str, tuple[Any, Any]] = {}
    if branching is not None:
        plan, changes = branching.planned(again, epoch)
    witness = Witness(history)
    with tempfile.TemporaryDirectory(prefix="danlu-replay-") as folder:
        start = Path(folder) / "start.safetensors"
        pause = Pause(step, keep=start if branching else None, stop=stop)
        learned = again.learn([pause, witness], display=display)
        moment = pause.moment
        if moment is None:
            done = learned.fitted.history[-1].get("step", 0) if learned.fitted.history else 0
            raise ConfigError(
                f"step is {step:,}, and the training made {done:,} updates; expected 0 to {max(done - 1, 0):,}"
            )
        proof = _proof(directory, witness, learned.model, whole=not stop, allow=allow)
        result: TrainResult | None = None
        if branching is not None:
            check_same_arrays(again.plan.model, plan.model, moment.in_shape, in_words(changes))
            if not proof.exact and proof.difference is not None:
                say("note: the branch starts from a training that is not the run's to the last bit")
            branch = Branch(str(directory.path.resolve()), step, moment.epoch, changes, proof.exact)
            result = branching.train(
                again, branch, start, name=name, root=runs, source=source, display=display, say=say, allow=allow
            )
            if (told := _unmoved(result, proof, moment)) is not None:
                say(told)
    return Replayed(
        run=directory,
        moment=moment,
        proof=proof,
        model=dataclasses.replace(_model_at(learned.model, moment), reader=domain),
        numbers=_numbers(again.prepared, moment),
        history=history,
        settings=changes,
        branch=result,
        compared=None if result is None else compare_runs(directory.path, result.run.path),
    )


def _epoch_of(run: RunDirectory, history: Sequence[Mapping[str, Any]], step: int) -> int:
    """The epoch (from 0) of an update by the record.

    Raises:
        ConfigError: there is no such update, or it was before the run branched off.
    """
    own = Branch.of(run)
    if own is not None and step < own.step:
        raise ConfigError(
            f"the run {run.path} branched off before update {own.step:,}; what was before belongs to {own.run}",
            hint=f"danlu replay {own.run} --step {step}",
        )
    ends = [int(row["step"]) for row in history if isinstance(row.get("step"), int)]
    ended = run.results_path.is_file()
    if ended and ends and step >= ends[-1]:
        raise ConfigError(
            f"step is {step:,}, and the run {run.path} made {ends[-1]:,} updates; expected 0 to {ends[-1] - 1:,}"
        )
    return sum(end <= step for end in ends)


def _proof(run: RunDirectory, witness: Witness, model: Trained, *, whole: bool, allow: Sequence[str]) -> Proof:
    """The comparison of what was trained with what the run kept."""
    found = kept = ""
    if whole and run.artifact_path.is_dir():
        saved = kept_network(load_model(run.path, allow=allow))
        if saved is not None:
            found, kept = digest(*(kept_network(model) or ())), digest(*saved)
    then: Mapping[str, Any] = {}
    if run.results_path.is_file():
        then = run.read_json("results.json").get("environment") or {}
    now = environment()
    machine = tuple(
        (what, str(then.get(what, "unknown")), told) for what, told in now.items() if then and then.get(what) != told
    )
    return Proof(witness.compared, witness.difference, found, kept, machine, whole)


def _unmoved(result: TrainResult, proof: Proof, moment: Moment) -> str | None:
    """What is to be said of a branch that ended with the weights of the run; None of another."""
    if not proof.kept or digest(*(kept_network(result.model) or ())) != proof.kept:
        return None
    best = result.fitted.best_epoch
    if best is not None and best < moment.epoch:
        return (
            f"note: the branch kept the run's own weights, those of epoch {best + 1}, which was before the update: no epoch after it was "
            "better by the rows that were held out"
        )
    return "note: the branch ended with the run's own weights, to the last bit: the change changed nothing"


def _model_at(model: Trained, moment: Moment) -> Trained:
    params, state = jax.tree.map(np.asarray, moment.state.learnt)
    return dataclasses.replace(model, network=moment.model, params=params, state=state)


def _numbers(prepared: Any, moment: Moment) -> tuple[np.ndarray, ...] | None:
    """The numbers of the rows of each network's batch in the data, from 1."""
    learnt, rows = getattr(prepared, "learnt", None), [share.rows for share in moment.shares]
    if learnt is None or any(each is None or (each.size and each.max() >= len(learnt)) for each in rows):
        return None
    return tuple(np.asarray(learnt)[each] + 1 for each in rows)
