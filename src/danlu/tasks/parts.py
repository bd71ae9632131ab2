"""Gradient boosting and a linear model beside a network, fitted to the same rows: the other parts of a blend."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from danlu.evaluate.baselines import boosting_model, linear_model
from danlu.evaluate.kept import Kept, kept_of, network_of, stacked
from danlu.evaluate.selection import loss_of
from danlu.evaluate.threads import idle_cores
from danlu.nn.layer import Layer
from danlu.stages import stage

__all__ = ["Divided", "Part", "boosting", "boosting_settings", "linear"]

Stop = Callable[[], bool]

_BLOCK = 50  # rounds of boosting between two looks at the held-out rows
_PATIENCE = 50  # rounds without a lower loss on them
_ROUNDS = 600
_LEAST_ROUNDS = 50
_RATE = 0.05
_FEW = 2_000
_WORK = {
    _FEW: 5e8,
    None: 2e9,
}  # up to how many rows: what all trees may cost together, in cells; a quarter of a minute, and a minute
_TREE = 60_000  # cells that a tree costs besides those of its rows
PENALTIES = (1.0, 10.0, 100.0, 0.1)
_LINEAR = 1e8  # rows times columns times classes times penalties: a minute or two


def boosting_settings(rows: int, cells: int, trees: int) -> tuple[int, dict[str, Any]]:
    """The most rounds of gradient boosting, and its settings: few rows get small trees, few rounds large steps.

    Args:
        rows: that a model learns from.
        cells: rows times columns.
        trees: in a round, of all models.

    Example:
        >>> [boosting_settings(rows, 10 * rows, 5)[1]["max_leaf_nodes"] for rows in (200, 2_000, 50_000)]
        [6, 8, 31]
    """
    work = next(most for limit, most in _WORK.items() if limit is None or rows < limit)
    rounds = int(np.clip(work / ((cells + _TREE) * trees), _LEAST_ROUNDS, _ROUNDS)) // _BLOCK * _BLOCK
    leaves = int(np.clip(6 * (rows / 1000) ** 0.5, 6, 31))
    return rounds, {
        "learning_rate": min(_RATE * _ROUNDS / rounds, 3 * _RATE),
        "max_leaf_nodes": leaves,
        "min_samples_leaf": max(3, leaves // 2),
        "l2_regularization": 3.0,
        "max_features": 0.4,
    }


@dataclasses.dataclass(frozen=True, eq=False)
class Divided:
    """Rows that are learnt from, and rows that are held out from that, once or once a fold.

    Attributes:
        task: ``"regression"``, ``"binary"`` or ``"multiclass"``.
        classes: of the target; 0 for a quantity.
        inputs: encoded rows.
        labels: codes, or standardised values.
        weight: of each row, or None.
        divisions: the numbers of the rows that are learnt from, and of those that are held out; no row is held out twice.
        seed: of what is drawn at random.
    """

    task: str
    classes: int
    inputs: Mapping[str, np.ndarray]
    labels: np.ndarray
    weight: np.ndarray | None
    divisions: Sequence[tuple[np.ndarray, np.ndarray]]
    seed: int = 0

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one encoded row."""
        return {name: np.shape(part)[1:] for name, part in self.inputs.items()}

    def summed(self, answers: np.ndarray, held: np.ndarray) -> float:
        """The loss of answers for these rows, summed by their weights."""
        weight = np.ones(len(held)) if self.weight is None else self.weight[held]
        return loss_of(answers, self.labels[held], weight) * float(weight.sum()) if weight.sum() > 0 else 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A part of a blend: a network with a member for each division."""

    name: str
    network: Layer
    params: Any
    state: Any


def boosting(rows: Divided, *, stop: Stop = lambda: False, settings: Mapping[str, Any] | None = None) -> Part | None:
    """Gradient boosting for each division, all of as many rounds as are best for the held-out rows of all together.

    The trees are scikit-learn's (HistGradientBoosting), one thread to a model, so that the bits do not depend on how many there
    are.

    Args:
        stop: whether to give up, asked now and then.
        settings: of scikit-learn's, instead of those of :func:`boosting_settings`.

    Returns:
        None where scikit-learn does not fit the rows (a class that a division has not, say), or it was given up.
    """
    width = sum(shape[0] for shape in rows.shapes.values())
    learnt = max(len(learn) for learn, _ in rows.divisions)
    trees = len(rows.divisions) * (rows.classes if rows.classes > 2 else 1)
    most, chosen = boosting_settings(learnt, learnt * width, trees)
    chosen |= settings or {}
    models = [
        boosting_model(
            rows.task, rows.inputs, **chosen, early_stopping=False, warm_start=True, random_state=rows.seed + number
        )
        for number in range(len(rows.divisions))
    ]
    x, best, at = stacked(rows.inputs), np.inf, 0
    block = (
        _BLOCK if learnt < _FEW else 2 * _BLOCK
    )  # scikit-learn goes through all earlier rounds again at each one's beginning

    def grow(done: int, rounds: int, number: int) -> list[float] | None:
        """The summed losses of a model after each further round."""
        (learn, held), model = rows.divisions[number], models[number]
        model.set_params(max_iter=rounds)
        if not _fit(model, x[learn], rows.labels[learn], None if rows.weight is None else rows.weight[learn]):
            return None
        return [
            rows.summed(answers, held)
            for answers in itertools.islice(_staged(model, x[held], rows.classes), done, None)
        ]

    with stage("gradient boosting", total=most, unit="rounds") as step, _workers(len(models)) as run:
        step.at_most = True
        for done, rounds in itertools.pairwise([*range(0, most, block), most]):
            found = run(functools.partial(grow, done, rounds), range(len(models)))
            if stop() or any(each is None for each in found):
                return None
            for number, losses in enumerate(zip(*found, strict=True), done + 1):
                if sum(losses) < best:
                    best, at = sum(losses), number
            step.advance(rounds - done)
            if rounds - at >= _PATIENCE:
                break
    kept = [kept_of("boosting", "gradient boosting", model, rows.classes, rounds=at) for model in models]
    return _part("boosting", kept, rows)


def linear(rows: Divided, *, stop: Stop = lambda: False, penalties: Sequence[float] = PENALTIES) -> Part | None:
    """Ridge or logistic regression for each division, with the one penalty of several that is best for the held-out rows.

    Args:
        stop: whether to give up, asked now and then.
        penalties: those to try, the most likely first; of a very large table only so many as are affordable.

    Returns:
        None where scikit-learn does not fit the rows, or there are too many, or it was given up.
    """
    x, best, chosen = stacked(rows.inputs), np.inf, None
    cost = sum(len(learn) for learn, _ in rows.divisions) * x.shape[1] * max(rows.classes, 1)
    affordable = penalties[: int(_LINEAR / cost)]
    with stage("linear model", total=len(affordable)) as step, _one_thread():
        for penalty in affordable:
            models, loss = [], 0.0
            for learn, held in rows.divisions:
                model = linear_model(rows.task, rows.inputs, penalty=penalty)
                weight = None if rows.weight is None else rows.weight[learn]
                if stop() or not _fit(model, x[learn], rows.labels[learn], weight):
                    return None
                models.append(model)
                loss += rows.summed(_answers(model, x[held], rows.classes), held)
            if loss < best:
                best, chosen = loss, models
            step.advance()
    return (
        None
        if chosen is None
        else _part("linear", [kept_of("linear", "linear model", model, rows.classes) for model in chosen], rows)
    )


def _part(name: str, kept: Sequence[Kept | None], rows: Divided) -> Part:
    known = [each for each in kept if each is not None]
    return Part(name, *network_of(known, rows.shapes))


def _fit(model: Any, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> bool:
    """Whether scikit-learn fits the model to the rows."""
    last = f"{model.steps[-1][0]}__sample_weight" if hasattr(model, "steps") else "sample_weight"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what has not converged is judged by its answers like any other
        try:
            model.fit(x, y, **({} if weight is None else {last: weight}))
        except ValueError:
            return False
    return not hasattr(model, "classes_") or len(model.classes_) > 1


def _staged(model: Any, x: np.ndarray, classes: int) -> Iterator[np.ndarray]:
    if not classes:
        yield from model.staged_predict(x)
        return
    for known in model.staged_predict_proba(x):
        yield _spread(model, known, classes)


def _answers(model: Any, x: np.ndarray, classes: int) -> np.ndarray:
    return _spread(model, model.predict_proba(x), classes) if classes else np.asarray(model.predict(x), np.float64)


def _spread(model: Any, known: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities of the classes that a model has met, among those of all."""
    found = np.zeros((len(known), classes))
    found[:, model.classes_] = known
    return found


def _one_thread() -> Any:
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1)


@contextlib.contextmanager
def _workers(count: int) -> Iterator[Callable[[Callable[[int], Any], Sequence[int]], list[Any]]]:
    """Runs a function for several numbers, at once where cores are idle; each call has one thread of its own."""
    with ThreadPoolExecutor(min(count, idle_cores()), initializer=_one_thread) as pool:
        yield lambda work, numbers: list(pool.map(work, numbers))
