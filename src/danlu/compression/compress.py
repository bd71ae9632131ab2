"""``danlu compress``: a trained model made smaller, with its test before and after."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from danlu.artifact import RunDirectory
from danlu.artifact.save import default_provenance
from danlu.blueprint import to_json
from danlu.compression.acting import acted
from danlu.compression.arrays import compress_fitted
from danlu.compression.bench import Bench
from danlu.compression.mixed import mixed_again, network_of
from danlu.compression.receipt import Receipts
from danlu.compression.shown import kept_receipts
from danlu.compression.student import alone
from danlu.compression.technique import Technique
from danlu.engine import Fitted, JSONLogger
from danlu.errors import ArtifactError, ConfigError, DanluError, shorten
from danlu.pipeline import load_model
from danlu.pipeline.again import Again, settings_of
from danlu.pipeline.compressed import COMPRESSION
from danlu.pipeline.crossed import FOLDS, crosses
from danlu.pipeline.effort import Effort
from danlu.pipeline.once import TrainResult, begin, record
from danlu.pipeline.owners import check_in_one_place
from danlu.stages import showing, stage
from danlu.tasks.recipe import Recipe
from danlu.trained import Learned, Say, Trained

__all__ = ["Compressed", "compress", "compress_run"]

_OF_SEVERAL = ("ensemble", "snapshots")  # what a model's provenance says of its networks, where there are several


@dataclasses.dataclass(frozen=True, eq=False)
class Compressed:
    """A compressed model and what it cost.

    Attributes:
        model: the compressed model.
        result: its run: the test, the report.
        before: the model that it was made of.
        techniques: what was done, in sequence.
        receipts: what it costs and what it is worth beside ``before``; None where they were not asked for.
    """

    model: Trained
    result: TrainResult
    before: Trained
    techniques: tuple[Technique, ...]
    receipts: Receipts | None = None


@overload
def compress(run: str | Path, techniques: Sequence[Technique] | Technique, **how: Any) -> Compressed: ...
@overload
def compress(run: Fitted, techniques: Sequence[Technique] | Technique, *, data: Any, **how: Any) -> Fitted: ...
def compress(run: Any, techniques: Sequence[Technique] | Technique, **how: Any) -> Compressed | Fitted:
    """Make a trained model smaller: of a run by its folder (see :func:`compress_run`), or a network that :func:`danlu.fit` trained.

    Args:
        run: the folder of a run, or what :func:`danlu.fit` gave.
        techniques: what is done, one after the other.
        **how: see :func:`compress_run`; of a network :func:`~danlu.compression.arrays.compress_fitted`.

    Raises:
        ConfigError: a technique that makes no sense for this model, by name; a model without its run.
    """
    if isinstance(run, Fitted):
        return compress_fitted(run, _checked(techniques), how.pop("data", None), **how)
    if not isinstance(run, str | Path):
        raise ConfigError(
            f"compress received {shorten(run)}; expected the folder of a run, or what danlu.fit gave: a model is trained on with its data",
            hint="danlu.compress(result.run.path, …)",
        )
    return compress_run(run, techniques, **how)


def compress_run(
    run: str | Path,
    techniques: Sequence[Technique] | Technique,
    *,
    name: str | None = None,
    runs: str | Path | None = None,
    source: Any = None,
    receipts: bool = True,
    display: str = "none",
    say: Say = print,
    allow: Sequence[str] = (),
) -> Compressed:
    """Make the model of a run smaller. It is trained on with the run's own data and settings, tested, and saved in a run of its own.

    Args:
        run: the run's folder.
        techniques: what is done, one after the other.
        name: of the new run; None is ``RUN-small``.
        runs: the folder that it is put in; None is the one that the run is in.
        source: the frame or arrays that the run learnt from, where it was not a file; or the path where the file is now.
        receipts: whether size, times, memory and scores are measured beside those of the model before.
        display, say: how the training is shown, and what is called with each notice.
        allow: modules that its environment may import.

    Raises:
        ConfigError: a technique that makes no sense for this model, by name; a cross-validation.
        ArtifactError: there is no such run.
        DataError: its data is not found.

    Example:
        >>> import tempfile, danlu
        >>> from danlu.compression import Magnitude
        >>> table = {"x": [float(i % 20) for i in range(80)], "y": ["low", "high"] * 40}
        >>> result = danlu.train(table, target="y", runs=tempfile.mkdtemp(), name="a", display="none", say=lambda line: None,
        ...                      model={"kind": "network", "members": 2, "width": 8}, trainer={"epochs": 1},
        ...                      evaluate={"baselines": False, "report": False})
        >>> found = danlu.compress(result.run.path, [Magnitude(0.5, epochs=0)], source=table, receipts=False,
        ...                        say=lambda line: None)
        >>> found.result.run.path.name
        'a-small'
    """
    begun = Effort()
    steps = _checked(techniques)
    with showing(display):
        with stage("reading and encoding"):
            _check_one_model(RunDirectory.open(run))
            _check_not_private(RunDirectory.open(run))
            again = Again.of(run, source=source, say=say, allow=allow, how="danlu compress RUN --data FILE")
            before = load_model(run, allow=allow)
        check_in_one_place(again.config, "danlu compress")
        again = alone(again) if steps[0].whole else again
        steps = tuple(each.settled(again, before) for each in steps)
        folder = _folder(again.run, name, runs)
        config = settings_of(again.run)
        told = {"run": str(again.run.path.resolve()), "techniques": [to_json(each) for each in steps]}
        given = config.data.source if source is None else source
        new = begin(config, given, again.domain, folder.parent, folder.name, (), more={COMPRESSION: told})
        with new.locked(), _gone_if_refused(new):
            how: dict[str, Any] = {"callbacks": [JSONLogger(new.metrics_path)], "display": display}
            learned, bench = _learned(again, before, steps, how)
            done = [*before.provenance.get("compression", ()), *told["techniques"]]
            gone = {*default_provenance(), *(_OF_SEVERAL if steps[0].whole else ())}
            kept = {name: told for name, told in before.provenance.items() if name not in gone}
            provenance = {**kept, "compression": done}
            learned = dataclasses.replace(learned, model=dataclasses.replace(learned.model, provenance=provenance))
            result = record(new, config, again.domain, again.prepared, learned, say=say, begun=begun)
        found = kept_receipts(before, result, again, bench, say=say) if receipts else None
    return Compressed(result.model, result, before, steps, found)


def _learned(again: Again, before: Trained, steps: tuple[Technique, ...], how: dict[str, Any]) -> tuple[Learned, Bench]:
    """The compressed model, with its head fitted anew, and the recipe by which it was made.

    Raises:
        ConfigError: its kind needs the network that it had.
    """
    if not isinstance(again.plan, Recipe):
        learned: Learned
        learned, bench = acted(before, steps, seed=again.config.trainer.seed, **how)
        again.prepared.learned.append(learned)
    else:
        whole = steps[0].whole
        start = (before.network, before.params, before.state) if whole else network_of(before)
        bench = Bench.of(again.plan, start, steps)
        learned = again.domain.learn(again.domain.for_trial(again.config).to_learn, again.prepared, bench, **how)
        learned = learned if whole else mixed_again(learned, before, again, bench)
    try:
        learned.model.head.check(learned.model.network, learned.model.encoder)
    except ArtifactError as error:
        raise ConfigError(
            f"a model for {before.purpose} cannot have another network than it was made with: {error.message}",
            hint="pruning of single weights (--prune) keeps the network as it is",
        ) from None
    return learned, bench


def _check_one_model(run: RunDirectory) -> None:
    """Refuse a cross-validation: its model is the mean of those of all folds, and a training is of one of them.

    Raises:
        ConfigError: see above.
    """
    if crosses(settings_of(run)):
        raise ConfigError(
            f"the run {run.path} is a cross-validation, which is several models; expected one training",
            hint=f"compress the model of one fold: danlu compress {run.path / FOLDS}/1; or train one model, without evaluate.folds",
        )


def _check_not_private(run: RunDirectory) -> None:
    """Refuse a private run: its rows would be learnt from once more, and what it says of its privacy would no longer hold.

    Raises:
        ConfigError: see above.
    """
    if settings_of(run).private.on or load_model(run.path).provenance.get("privacy"):
        raise ConfigError(
            f"the run {run.path} was trained in private, and compressing looks at its training rows again, without noise",
            hint="train a smaller network in private, such as model.width=16",
        )


@contextlib.contextmanager
def _gone_if_refused(run: RunDirectory) -> Iterator[None]:
    """A run that comes to nothing leaves no folder."""
    try:
        yield
    except DanluError:
        if not run.artifact_path.is_dir():
            shutil.rmtree(run.path, ignore_errors=True)
        raise


def _checked(techniques: Any) -> tuple[Technique, ...]:
    steps = tuple(techniques) if isinstance(techniques, Sequence) else (techniques,)
    wrong = [each for each in steps if not isinstance(each, Technique)]
    if wrong or not steps:
        raise ConfigError(
            f"compress received {shorten(wrong[0]) if wrong else 'no technique'}; expected techniques",
            hint="such as [danlu.compression.Magnitude(0.8)]",
        )
    late = [each for each in steps[1:] if each.whole]
    if late:
        raise ConfigError(
            f"{type(late[0]).__name__} makes one network of the whole model, and stands after {type(steps[0]).__name__}; expected it first"
        )
    return steps


def _folder(run: RunDirectory, name: str | None, runs: str | Path | None) -> Path:
    """The folder of the new run: a free one where it is not named."""
    root = Path(runs) if runs is not None else run.path.resolve().parent
    if name is not None:
        return root / name
    wanted, number = f"{run.name}-small", 1
    while (root / wanted).exists():
        number += 1
        wanted = f"{run.name}-small-{number}"
    return root / wanted
