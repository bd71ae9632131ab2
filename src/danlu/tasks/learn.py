"""From encoded rows to a trained model: the recipe, the handling of class imbalance, and the one trainer."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.data import TableEncoder, TargetEncoder, resampler
from danlu.data.images import ImageEncoder
from danlu.data.sequences import SequenceEncoder
from danlu.data.text import TextEncoder
from danlu.engine import enable_compilation_cache
from danlu.engine.adversarial import Adversarial
from danlu.engine.objective import Objective, Supervised
from danlu.engine.order import Sampler
from danlu.errors import ConfigError
from danlu.interrupt import graceful
from danlu.nn.losses import CategoricalFocal, class_weights, example_weights, get_loss, get_metric
from danlu.tasks.answers import Answers
from danlu.tasks.blend import NETWORK, Candidate, blended, candidates, divided, ended, held_answers, truth_of
from danlu.tasks.folds import out_of_fold
from danlu.tasks.parts import Divided, Part, boosting
from danlu.tasks.penalty import Penalty, penalised
from danlu.tasks.recipe import Recipe, recipe
from danlu.tasks.rounds import Budget, grown, prolonged, varied
from danlu.tasks.snapshots import with_best_snapshots
from danlu.trained import HeldOut, Learned, Trained

__all__ = ["KINDS", "Imbalance", "learn", "lesson_of", "plan_for"]

KINDS = ("blend", "network", "scorecard")
"""The kinds of models of a table."""


_STEPS = 3  # to the worst change of an input, in adversarial training
# What is watched in training, by the recipe's loss. The first one chooses the best epoch: it judges the prediction, the mean
# of the members, which goes on improving after the members have each become too sure of themselves.
_WATCHED = {
    "mse": ("squared_error",),
    "mae": ("absolute_error",),
    "huber": ("absolute_error",),
    "categorical_cross_entropy": ("log_loss", "accuracy"),
}


class Imbalance(Blueprint):
    """Ways to handle classes of very different sizes; each can be used alone or with the others.

    Args:
        class_weight: ``"balanced"`` makes every class weigh the same in the loss: ``n / (classes · n_k)``.
        resample: ``"oversample"`` or ``"undersample"``: an epoch shows every class equally often.
        focal_gamma: γ of the focal loss ``(1 − p)^γ · (−log p)``, which looks away from what is already known; None
            keeps the cross-entropy.
        threshold: the measure (``"f1"``, ``"balanced_accuracy"``, ``"accuracy"`` or ``"mcc"``) for which the
            decision threshold of two classes is chosen on the validation rows; ``"none"`` keeps ½.
    """

    class_weight: str = setting(default="none", choices=("none", "balanced"))
    resample: str = setting(default="none", choices=("none", "oversample", "undersample"))
    focal_gamma: float | None = setting(default=None, minimum=0, optional=True)
    threshold: str = setting(default="none", choices=("none", "f1", "balanced_accuracy", "accuracy", "mcc"))

    @property
    def shifting(self) -> str:
        """The setting that makes the probabilities others than the shares of rows, if there is one."""
        names = [name for name in ("class_weight", "resample") if getattr(self, name) != "none"]
        return f"imbalance.{names[0]}" if names else ""

    def check(self, task: str) -> None:
        """Refuse settings that do not fit the task.

        Raises:
            ConfigError: any of it with regression, a threshold with more than two classes.
        """
        asked = [name for name, value in dataclasses.asdict(self).items() if value not in ("none", None)]
        if asked and task == "regression":
            raise ConfigError(f"imbalance.{asked[0]} is for classification; this target is a quantity")
        if self.threshold != "none" and task != "binary":
            raise ConfigError("imbalance.threshold is for two classes; this target has more")


def plan_for(encoder: TableEncoder, target: TargetEncoder, rows: int, **changes: Any) -> Recipe:
    """The default recipe for ``rows`` encoded training rows.

    Args:
        **changes: ``folds`` and fields of the :class:`Recipe`, or of its network (``members``, ``width``, ``depth``, ``dropout``).
    """
    shapes = encoder.in_shape
    network: dict[str, Any] = {
        name: changes.pop(name) for name in ("members", "width", "depth", "dropout", "numeric") if name in changes
    }
    return recipe(
        target.task,
        rows,
        numeric=shapes["numeric"][0] if "numeric" in shapes else 0,
        vocabularies=encoder.cardinalities,
        text=shapes["text"][0] if "text" in shapes else 0,
        classes=target.units,
        network=network,
        **changes,
    )


def learn(
    data: Any,
    *,
    encoder: TableEncoder | ImageEncoder | TextEncoder | SequenceEncoder,
    target: TargetEncoder,
    plan: Recipe,
    validation: tuple[Any, ...] | None = None,
    folds: np.ndarray | None = None,
    rows: int | None = None,
    sample: Any = None,
    imbalance: Imbalance | None = None,
    answers: Answers | None = None,
    kind: str | None = None,
    budget: Budget | None = None,
    counts: np.ndarray | None = None,
    penalty: Penalty | None = None,
    adversarial: float | None = None,
    initial: Sequence[tuple[Any, Any]] | None = None,
    finish: Callable[[Trained], Trained] | None = None,
    seed: int = 0,
    **how: Any,
) -> Learned:
    """Train the recipe's network on encoded rows.

    Args:
        data: ``(inputs, labels)`` or ``(inputs, labels, weight)`` as the encoders give them, or a stream of chunks of these.
        validation: rows of the same kind, which choose the best epoch; None trains to the last one.
        folds: instead of validation rows, for a plan of several folds: the fold of each row of ``data``. Each network is
            judged on the rows of its own fold, which it does not learn from.
        rows: training rows of a stream.
        sample: encoded rows of a stream, from which the bins of a table's numeric columns are set.
        imbalance: what to do about rare classes.
        answers: how probabilities are calibrated and decisions made.
        kind: ``"network"`` or ``"scorecard"``, which is one; of a table also ``"blend"``, the network beside gradient boosting and a
            linear model (see :mod:`danlu.tasks.blend`); None is a blend where there can be one.
        budget: how long the blend goes on with more networks and trees; None ends with the first of each.
        counts: how often each row that is held out counts, see :class:`~danlu.trained.HeldOut`.
        penalty: on the distance of groups of rows, which only a network is trained with; None has none.
        adversarial: trains on the worst change of each input of this size, of pictures as a share of their range; None on the inputs
            as they are.
        initial: the parameters and the state that each network begins with; None draws them.
        finish: what is done to the trained model before it answers the rows that are held out.
        seed: decides the initial weights and every random draw.
        **how: ``callbacks``, ``checkpoint``, ``resume`` and ``display``, for :func:`danlu.fit`.

    Raises:
        ConfigError: options that do not fit the task or the data.
    """
    begun = time.monotonic()
    imbalance, answers = imbalance or Imbalance(), answers or Answers()
    answers.check(target.task, target.classes, imbalance)
    enable_compilation_cache()
    given = (*data, None)[:3] if isinstance(data, tuple) else None
    held = validation if folds is None else given
    labels = np.asarray(held[1]) if isinstance(held, tuple) else None
    answers.check_held(labels, target.classes, imbalance)
    if kind is None and (penalty is not None or adversarial is not None or not isinstance(encoder, TableEncoder)):
        kind = "network"
    if penalty is not None and (kind == "blend" or budget is not None):
        raise ConfigError(
            "a penalty on groups is a part of what a network is trained by; the other parts of a blend have none",
            hint="model.kind=network, or fairness.mitigate=reweigh",
        )
    alone = kind in ("network", "scorecard")
    hindered = "" if alone else _hindered(encoder, plan, imbalance, labels)
    if hindered and (kind == "blend" or budget is not None):
        asked = "model.kind is 'blend'" if budget is None else f"trainer.minutes is {budget.minutes:g}"
        raise ConfigError(
            f"{asked}, but {hindered}",
            hint="hold more rows out (split.validation; of an estimator validation_fraction), or leave it out",
        )
    data, sample, settings = lesson_of(
        data,
        target=target,
        plan=plan,
        validation=validation,
        folds=folds,
        rows=rows,
        sample=sample,
        imbalance=imbalance,
        penalty=penalty,
    )
    if adversarial is not None:
        settings |= _adversarial(settings, plan, adversarial, pictures=isinstance(encoder, ImageEncoder))
    settings |= {**how, "seed": seed}
    key = jax.random.key(seed)
    starts = initial or [plan.initial(own, sample) for own in plan.keys(key)]
    if plan.networks == 1:
        fitted = plan.fit(data, initial=starts[0], **settings)
    else:
        fitted = plan.cross_fit(data, folds, initial=starts, **settings)
    model = Trained(fitted.model, fitted.params, fitted.state, encoder, answers.head(target))
    model = model if finish is None else finish(model)
    known = _held_out(model, held, folds, counts)
    learned = Learned(model, fitted, known, (f"the network alone, no blend: {hindered}",) if hindered else ())
    if plan.snapshots > 1:
        learned = with_best_snapshots(learned, held, folds)
        model = learned.model
    if given is not None and not alone and not hindered and fitted.stopped_by is None:
        learnt, others = (_even(imbalance, target, part, given[1]) for part in (given, held))
        parts = divided(target, learnt, None if folds is not None else others, folds, seed=seed)
        if budget is None:
            learned = blended(learned, parts, folds)
        else:
            learned = _longer(
                learned,
                parts,
                folds,
                budget,
                plan,
                data=given,
                validation=validation,
                rows=rows,
                imbalance=imbalance,
                begun=begun,
                seed=seed,
                how=how,
            )
    head = answers.fitted(model.head, plan.told(learned.held_out, target), imbalance)
    return dataclasses.replace(learned, model=dataclasses.replace(learned.model, head=head))


def _longer(
    learned: Learned,
    parts: Divided,
    folds: np.ndarray | None,
    budget: Budget,
    plan: Recipe,
    *,
    begun: float,
    seed: int,
    how: Mapping[str, Any],
    **lesson: Any,
) -> Learned:
    """The blend of the network with the others, and of more rounds of both while there is time."""
    own, stopped = candidates(learned, parts, folds)
    if stopped is not None:
        return stopped
    model = learned.model

    def of(number: int) -> np.ndarray | None:
        return None if folds is None or budget.refold is None else budget.refold(number)

    def divided_anew(number: int) -> Divided:
        anew = of(number)
        if anew is None:
            return dataclasses.replace(parts, seed=seed + number)
        return divided(model.head.target, (parts.inputs, parts.labels, parts.weight), None, anew, seed=seed + number)

    def network(number: int) -> tuple[Learned, Candidate | None, str]:
        changed, told = varied(plan, number, seed)
        place = how.get("checkpoint")
        again = learn(
            **lesson,
            encoder=model.encoder,
            target=model.head.target,
            plan=changed,
            folds=of(number),
            kind="network",
            seed=seed + 1000 * number,
            display=how.get("display", "auto"),
            checkpoint=None if place is None else Path(place) / f"round-{number:03}",
            resume=how.get("resume", False),
        )
        part = Part(NETWORK, again.model.network, again.model.params, again.model.state)
        answers = again.held_out.answers if again.held_out is not None else np.zeros(0)
        return again, Candidate(part, answers), told

    def trees(number: int) -> tuple[Learned, Candidate | None, str]:
        settings, told = grown(number, seed)
        anew = divided_anew(number)
        with graceful() as asked:
            part = boosting(anew, stop=lambda: bool(asked), settings=settings)
        if asked:
            return ended(learned, asked), None, told
        return learned, None if part is None else Candidate(part, held_answers(model, part, anew, of(number))), told

    truth, weight = truth_of(learned, parts, folds)
    return prolonged(
        learned, own, budget, network=network, trees=trees, truth=truth, weight=weight, begun=begun,
        answers=lambda part, number: held_answers(model, part, divided_anew(number), of(number)),
    )  # fmt: skip


def lesson_of(
    data: Any,
    *,
    target: TargetEncoder,
    plan: Recipe,
    validation: tuple[Any, ...] | None = None,
    folds: np.ndarray | None = None,
    rows: int | None = None,
    sample: Any = None,
    imbalance: Imbalance | None = None,
    penalty: Penalty | None = None,
) -> tuple[Any, Any, dict[str, Any]]:
    """What a network of labelled rows is trained on, whoever trains it; arguments as of :func:`learn`.

    Returns:
        The rows with their weights; encoded rows from which the initial weights are set; and what :meth:`Recipe.fit` and
        :meth:`Recipe.cross_fit` take beside them: the loss, what is watched, how rows are drawn, and which rows judge.

    Raises:
        ConfigError: options that do not fit the task or the data.
    """
    imbalance = imbalance or Imbalance()
    imbalance.check(target.task)
    draws: dict[str, Any] = {}
    if isinstance(data, tuple):
        inputs, labels, weight = (*data, None)[:3]
        rows, sample = len(labels), inputs if sample is None else sample
        if folds is not None:
            validation = data
        data, validation = _weighed(imbalance, target, inputs, labels, weight, validation)
        parts = [np.arange(rows)] if folds is None else [np.flatnonzero(folds != k) for k in range(plan.folds)]
        rows = max(part.size for part in parts)
        if imbalance.resample != "none":
            samplers = [_drawn(resampler(imbalance.resample, np.asarray(labels)[part]), part) for part in parts]
            rows = max(sampler(0, np.random.default_rng(0)).size for sampler in samplers)
            each = [sampler for sampler in samplers for _ in range(plan.copies)]
            draws = {"sampler": samplers[0]} if plan.networks == 1 else {"samplers": each}
    elif imbalance.class_weight != "none" or imbalance.resample != "none":
        raise ConfigError(
            "class weights and resampling need the whole table in memory, but this one is read as a stream",
            hint="use imbalance.focal_gamma or imbalance.threshold, or data.stream=false",
        )
    if rows is None or sample is None:
        raise ConfigError("learn() was given a stream; expected its number of rows and a sample of them as well")
    if (folds is not None) != (plan.folds > 1):
        raise ConfigError(
            f"the plan is for {plan.folds} folds; expected the fold of each row with 2 or more, else none"
        )
    settings = {
        **draws,
        "rows": rows,
        "loss": _loss(plan, imbalance),
        "metrics": _WATCHED[plan.loss],
        "validation": validation,
    }
    if validation is not None:
        settings["monitor"] = f"val_{_WATCHED[plan.loss][0]}"
    if penalty is None:
        return data, sample, settings
    return _with_penalty(data, settings, penalty, plan), sample, settings


def _with_penalty(data: Any, settings: dict[str, Any], penalty: Penalty, plan: Recipe) -> Any:
    """The rows with their groups among the targets, and in ``settings`` the objective with the penalty, which judges as well."""

    def grouped(part: tuple[Any, ...], codes: np.ndarray) -> tuple[Any, ...]:
        inputs, labels, *weight = part
        return (inputs, {"label": labels, "group": np.asarray(codes, np.int32)}, *weight)

    validation = settings["validation"]
    if validation is not None:
        own = penalty.validation  # None of folds, where the rows that judge are those that are learnt from
        settings["validation"] = grouped(validation, penalty.train if own is None else own)
        settings["monitor"] = "val_loss"
    settings["loss"] = penalised(plan.model, settings["loss"], settings.pop("metrics"), penalty.gap, plan.precision)
    settings["metrics"] = ()
    settings["loss_weights"] = {"group_gap": penalty.strength}
    return grouped(data, penalty.train)


def _adversarial(settings: Mapping[str, Any], plan: Recipe, radius: float, *, pictures: bool) -> dict[str, Any]:
    """The objective of a training on the worst changes of the inputs, judged on the inputs as they are."""
    loss = settings["loss"]
    if not isinstance(loss, Objective):
        metrics = tuple((name, get_metric(name)) for name in settings["metrics"])
        loss = Supervised(plan.model, loss, metrics, plan.precision)
    ends = {"radius": 255 * radius, "low": 0.0, "high": 255.0} if pictures else {"radius": radius}
    return {"loss": Adversarial(objective=loss, steps=_STEPS, **ends), "metrics": ()}


def _loss(plan: Recipe, imbalance: Imbalance) -> Callable[[Any, Any], Any]:
    if imbalance.focal_gamma is not None:
        return CategoricalFocal(gamma=imbalance.focal_gamma)
    return get_loss(plan.loss)


def _drawn(sampler: Sampler, rows: np.ndarray) -> Sampler:
    """A sampler of the places in ``rows`` as one of the rows."""
    return lambda epoch, rng: rows[sampler(epoch, rng)]


def _weighed(
    imbalance: Imbalance,
    target: TargetEncoder,
    inputs: Any,
    labels: np.ndarray,
    weight: np.ndarray | None,
    validation: tuple[Any, ...] | None,
) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
    """The rows with their weights. Where training evens the classes out, the rows that judge it are evened out as well."""
    if imbalance.class_weight == "none" and imbalance.resample == "none":
        return (inputs, labels, weight), validation
    of_class = class_weights(labels, target.units)
    if validation is not None:
        x, y, w = (*validation, None)[:3]
        validation = (x, y, example_weights(y, of_class, sample_weight=w))
    if imbalance.class_weight != "none" and imbalance.resample == "none":
        weight = example_weights(labels, of_class, sample_weight=weight)
    return (inputs, labels, weight), validation


_FEWEST_HELD = 40  # rows; on fewer, chance would choose the weights of a blend


def _hindered(encoder: Any, plan: Recipe, imbalance: Imbalance, held: np.ndarray | None) -> str:
    """Why there can be no blend, in words; empty where there can. ``held`` are the labels of the rows that are held out."""
    if not isinstance(encoder, TableEncoder):
        return "only models of tables are blended"
    if held is None:
        return "no rows were held out in memory, on which its weights could be chosen"
    if len(held) < _FEWEST_HELD:
        return f"only {len(held)} rows were held out, too few to choose the weights of a blend on"
    if plan.loss not in ("mse", "categorical_cross_entropy"):
        return f"its other models do not learn by trainer.loss={plan.loss}"
    if imbalance.focal_gamma is not None:
        return "its other models do not learn by the focal loss"
    return ""


def _even(imbalance: Imbalance, target: TargetEncoder, rows: Any, labels: np.ndarray) -> tuple[Any, ...]:
    """Rows as other models than networks take them: where training evens the classes out, by weights."""
    inputs, own, weight = (*rows, None)[:3]
    if imbalance.class_weight != "none" or imbalance.resample != "none":
        weight = example_weights(own, class_weights(labels, target.units), sample_weight=weight)
    return inputs, np.asarray(own), None if weight is None else np.asarray(weight)


def _held_out(model: Trained, held: Any, folds: np.ndarray | None, counts: np.ndarray | None) -> HeldOut | None:
    """The answers for rows that were not learnt from; None where there are none in memory."""
    if not isinstance(held, tuple):
        return None
    inputs, labels, weight = (*held, None)[:3]
    answers = model.answer(inputs) if folds is None else out_of_fold(model, inputs, folds)
    return HeldOut(np.asarray(answers), np.asarray(labels), folds, weight, counts)
