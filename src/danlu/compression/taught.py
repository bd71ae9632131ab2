"""A network that is trained beside one that knows the answers already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError
from danlu.explain.representation import body_of
from danlu.nn.augment import RandomChange, Rescale
from danlu.nn.combine import Sequential
from danlu.nn.dense import Dense
from danlu.nn.ensemble import Ensemble
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.losses import IGNORED, MSE, VOID, SoftTargets

__all__ = ["ANSWERS", "FromTeacher", "Hint", "OfStudent", "Taught", "mean_answer"]

ANSWERS: Mapping[str, str] = {
    "categorical_cross_entropy": "classes",
    "binary_cross_entropy": "labels",
    "token_cross_entropy": "tokens",
    "segmentation": "pixels",
    "mse": "values",
    "mae": "values",
    "huber": "values",
}
"""What a network answers, by the loss that it is trained by."""


def mean_answer(outputs: jax.Array, answer: str) -> jax.Array:
    """The one answer of a network's members ``(batch, members, units)``: the logarithm of their mean probability, or their mean value.

    >>> mean_answer(jnp.log(jnp.array([[[0.5, 0.5], [0.9, 0.1]]])), "classes").round(3).tolist()  # ln 0.7 and ln 0.3
    [[-0.35..., -1.20...]]
    """
    if outputs.ndim != 3 or answer not in ("classes", "values"):
        return outputs
    if answer == "values":
        return outputs.mean(axis=1)
    return jax.nn.logsumexp(jax.nn.log_softmax(outputs), axis=1, b=1 / outputs.shape[1])


class Taught(Layer):
    """A student beside its teacher: the outputs of both, of which one learns. It is what distillation trains.

    The teacher's arrays are in the state, so that no gradient reaches them and no optimizer changes them. It sees the same inputs as the
    student, random changes of pictures included: what the student is shown, the teacher is asked about.

    Args:
        student: the network that learns.
        teacher: the network that answers; None where its answers were computed before and stand beside the rows.
        answer: one of the values of :data:`ANSWERS`.
        features: of the teacher, before its last layer, that the student's are compared with; 0 compares none. They meet through a linear
            map that is learnt too, since the student's are fewer.

    Input: the student's; without a teacher ``{"rows": the student's, "teacher": the answers, "true": for rows with a label of their
        own the number of all rows over theirs,
    else 0}``.
    Output: ``{"student", "teacher"}``, with features also ``{"own", "hint"}``, the student's as the map gives them and the teacher's.

    Params: ``{"student"}`` and ``{"map"}``. State: ``{"student"}`` and ``{"teacher": {"params", "state"}}``.

    Reference:
        Hinton, Vinyals & Dean (2015), arXiv:1503.02531. The features: Romero et al., "FitNets: hints for thin deep nets" (2015),
        arXiv:1412.6550, eq. 3. That both see one picture: Beyer et al. (2022), arXiv:2106.05237, "consistent teaching".

    Example:
        >>> net = Taught(Dense(2), Dense(2))
        >>> params, state, shape = net.init(jax.random.key(0), (3,))
        >>> y, _ = net.apply(params, state, jnp.ones((4, 3)))
        >>> shape, y["teacher"].shape, sorted(params)
        ({'student': (2,), 'teacher': (2,)}, (4, 2), ['student'])
    """

    student: Layer
    teacher: Layer | None = None
    answer: str = setting(default="classes", choices=("classes", "labels", "tokens", "pixels", "values"))
    features: int = setting(default=0, minimum=0, integer=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.features and self.teacher is None:
            raise ConfigError("Taught compares features with a teacher, and has none; expected a network")

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        rows = in_shape if self.teacher is not None else in_shape["rows"]  # type: ignore[call-overload]
        own, kept, shape = self.student.init(key, rows)
        if self.teacher is None:
            given: Any = in_shape
            return {"student": own}, {"student": kept}, {**given, "student": shape}
        taught, known, answers = self.teacher.init(jax.random.fold_in(key, 1), rows)
        params, state = self.begun((own, kept), (taught, known), rows, key)
        return params, state, {"student": shape, "teacher": answers}

    def begun(
        self, own: tuple[Params, State], teacher: tuple[Params, State] | None, in_shape: Shape, key: jax.Array
    ) -> tuple[Params, State]:
        """Its variables from those of the student and of the teacher.

        Args:
            in_shape: of the student.
            key: draws the map of the features.
        """
        params, state = {"student": own[0]}, {"student": own[1]}
        if teacher is not None:
            state["teacher"] = dict(zip(("params", "state"), teacher, strict=True))
        if self.features:
            body, p, s = body_of(self.student, *own)
            example = jax.tree.map(
                lambda side: jnp.zeros((1, *side)), in_shape, is_leaf=lambda each: isinstance(each, tuple)
            )
            width = jax.eval_shape(lambda x: _flat(body.apply(p, s, x)[0]), example).shape[1]
            params["map"], _, _ = Dense(self.features).init(jax.random.fold_in(key, 2), (width,))
        return params, state

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        rows = x if self.teacher is not None else x["rows"]
        own = params["student"], state["student"]
        outputs, kept = self.student.apply(*own, rows, train=train, key=key)
        found, state = {"student": outputs}, {**state, "student": kept}
        if self.teacher is None:
            return {**found, **{name: x[name] for name in x if name != "rows"}}, state
        teacher, shown = (self.teacher, *(state["teacher"][part] for part in ("params", "state"))), rows
        if train and (pair := _one_view(self.student, teacher)) is not None:
            changes, teacher = pair
            shown, _ = changes.apply(
                ((),) * len(changes.layers), ((),) * len(changes.layers), rows, train=True, key=key
            )
        network, taught, known = teacher
        answers, _ = network.apply(taught, known, shown, train=False)
        found["teacher"] = jax.lax.stop_gradient(mean_answer(answers, self.answer))
        if self.features:
            body, p, s = body_of(self.student, *own)
            seen = _flat(body.apply(p, s, rows, train=train, key=key)[0])  # computed once: XLA finds it twice
            found["own"], _ = Dense(self.features).apply(params["map"], {}, seen)
            body, p, s = body_of(*teacher)
            found["hint"] = jax.lax.stop_gradient(_flat(body.apply(p, s, shown, train=False)[0]))
        return found, state

    def adapt(self, params: Params, state: State) -> tuple[Params, State]:
        """Its own variables, as training begins with them."""
        return params, state

    def merge(self, params: Params, state: State) -> tuple[Params, State]:
        """Its own variables, as training ends with them."""
        return params, state

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return (("student", self.student),)

    def decays(self, params: Params) -> Params:
        """What weight decay applies to: as the student declares, and of the map its kernel."""
        declared = getattr(self.student, "decays", None)
        own = params["student"]
        found = {"student": jax.tree.map(lambda leaf: leaf.ndim > 1, own) if declared is None else declared(own)}
        return {**found, "map": {"kernel": True, "bias": False}} if "map" in params else found


def _flat(features: jax.Array) -> jax.Array:
    """Features ``(batch, …)`` as ``(batch, features)``."""
    return features.reshape(features.shape[0], -1)  # (batch, features)


def _one_view(student: Layer, teacher: tuple[Layer, Any, Any]) -> tuple[Sequential, tuple[Layer, Any, Any]] | None:
    """The student's random changes of pictures, and the teacher without its own, so that both see one picture; None where there are none,
    or where the two do not begin alike."""
    own, network, *variables = student.expanded, *teacher
    many = isinstance(network, Ensemble)
    other = (network.network if isinstance(network, Ensemble) else network).expanded
    if not isinstance(own, Sequential) or not isinstance(other, Sequential):
        return None
    first, second = (_changes(each) for each in (own, other))
    plain = [tuple(layer for layer in each if not isinstance(layer, RandomChange)) for each in (first, second)]
    if plain[0] != plain[1] or len(plain[0]) == len(first):
        return None
    count = len(second)
    rest: Layer = Sequential(other.layers[count:])
    rest = Ensemble(rest, network.count) if isinstance(network, Ensemble) and many else rest
    return Sequential(first), (rest, *(each[count:] for each in variables))


def _changes(network: Sequential) -> tuple[Layer, ...]:
    """The layers at the beginning that only rescale pictures or change them at random."""
    found: list[Layer] = []
    for layer in network.layers:
        if not isinstance(layer, RandomChange | Rescale):
            break
        found.append(layer)
    return tuple(found)


class OfStudent(Blueprint):
    """A measure of the student's outputs: that of the true labels, 0 of a row that has none.

    Args:
        measure: a loss or a metric.
        mean: whether the mean over all rows is to be that over the rows with a true label, as of a metric that is shown.
    """

    measure: Any
    mean: bool = False

    def __call__(self, outputs: Any, targets: Any, *weights: Any) -> Any:
        found = self.measure(outputs["student"], targets, *weights)
        if "true" not in outputs or not jnp.ndim(found):
            return found
        return found * (outputs["true"] if self.mean else outputs["true"] > 0)

    @property
    def direction(self) -> str | None:
        """That of the measure."""
        return getattr(self.measure, "direction", None)

    def check_targets(self, outputs: Any, targets: Any) -> None:
        """Check the targets as the measure does, if it does."""
        check = getattr(self.measure, "check_targets", None)
        if check is not None:
            check(outputs["student"], targets)


class FromTeacher(Blueprint):
    """How far the student's answers are from the teacher's, one value a row: :class:`~danlu.nn.losses.SoftTargets`, of tokens and
    pixels the mean over those that count; of quantities the squared difference.

    Args:
        answer: one of the values of :data:`ANSWERS`.
        temperature: of the soft targets.
    """

    answer: str
    temperature: float = setting(default=2.0, above=0)

    direction = "min"

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        z, t = outputs["student"], outputs["teacher"]
        if self.answer == "values":
            return MSE()(z, t)
        soft = SoftTargets(self.temperature, binary=self.answer == "labels")
        if self.answer not in ("tokens", "pixels"):
            return soft(z, t)
        classes = z.shape[-1]
        each = soft(z.reshape(-1, classes), t.reshape(-1, classes))  # (batch · places, classes)
        counted = (targets != (IGNORED if self.answer == "tokens" else VOID)).reshape(len(z), -1)  # (batch, places)
        total = jnp.sum(jnp.where(counted, each.reshape(counted.shape), 0), axis=1)  # (batch, places)
        return total / jnp.maximum(counted.sum(axis=1), 1)


class Hint(Blueprint):
    """``mean_k (a_k − h_k)²`` of the student's mapped features ``a`` and the teacher's ``h``, over the teacher's mean square, so
    that it does not depend on the scale of the features: 1 is as far as knowing nothing.

    Reference: Romero et al. (2015), arXiv:1412.6550, eq. 3.
    """

    direction = "min"

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        own, hint = outputs["own"], outputs["hint"]
        scale = jnp.maximum(jnp.mean(jnp.square(hint)), 1e-12)
        return jnp.mean(jnp.square(own - hint), axis=1) / scale
