"""A policy that acts on what a detector finds in a picture: boxes become numbers, and those are all that it sees."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError
from danlu.nn import Detector, Sequential
from danlu.nn._shapes import array_shape
from danlu.nn.cells import Detections, find_objects
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.losses import DetectionLoss, Loss
from danlu.rl.distributions import Distribution
from danlu.rl.environment import Environment
from danlu.rl.networks import Scaled, encoder, mlp
from danlu.rl.offline import CloningLoss

__all__ = ["Detecting", "DetectingLoss", "Sight", "told_of"]

NUMBERS = 5  # that each object is told by
STRIDE, SIZE = 4, 6.0  # of the cells, and of a usual object, in pixels
_LOOKED = 32  # cells of the best scores


class Sight(Layer):
    """What is seen in a picture: a :class:`~danlu.nn.Detector` of objects, and beside it a network for quantities that are no objects.

    Outputs: ``{"cells": (batch, rows, columns, 5 + classes), "numbers": (batch, quantities), "seen": (batch, features)}``; ``"seen"`` is
    the quantities, and the objects as :func:`told_of` puts them. No gradient goes back through it: seeing is learnt by its own objective.
    Params and state: ``(detector's, gauge's)``.

    Args:
        detector: pictures of numbers from 0 to 1 to cells.
        gauge: pictures to quantities.
        most: objects of each class that are told.
        threshold: the score from which there is an object.
    """

    detector: Detector
    gauge: Layer
    most: int = setting(default=3, minimum=1, integer=True)
    threshold: float = setting(default=0.25, above=0, below=1)

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return (("detector", self._eye), ("gauge", self.gauge))

    @property
    def _eye(self) -> Layer:
        return Sequential((Scaled(), self.detector))

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        eye, first, cells = self._eye.init(jax.random.fold_in(key, 0), in_shape)
        gauge, second, numbers = self.gauge.init(jax.random.fold_in(key, 1), in_shape)
        features = array_shape("Sight", numbers)[0] + self.detector.classes * self.most * NUMBERS
        return (eye, gauge), (first, second), {"cells": cells, "numbers": numbers, "seen": (features,)}

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[dict[str, jax.Array], State]:
        cells, first = self._eye.apply(params[0], state[0], x, train=train, key=key)
        numbers, second = self.gauge.apply(params[1], state[1], x, train=train, key=key)
        things = told_of(
            self.found(cells), classes=self.detector.classes, most=self.most, sides=x.shape[1:3], least=self.threshold
        )
        seen = jax.lax.stop_gradient(jnp.concatenate([numbers, things], axis=-1))
        return {"cells": cells, "numbers": numbers, "seen": seen}, (first, second)

    def found(self, cells: jax.Array) -> Detections:
        """The objects in the detector's cells."""
        room = self.detector.classes * self.most
        how: dict[str, Any] = {"stride": self.detector.stride, "size": self.detector.size}
        return find_objects(cells, max_detections=room, candidates=max(_LOOKED, room), **how)


def told_of(found: Detections, *, classes: int, most: int, sides: tuple[int, int], least: float) -> jax.Array:
    """Objects as numbers for a policy, ``(batch, classes · most · 5)``.

    Of each class the ``most`` tallest, which of things of one size are the nearest, the tallest first: 1; the middle and the lower edge of
    the box, as shares of the picture's sides; its height as such a share; and ``min(1, 2/height)`` in pixels, which grows with the
    distance. 0 where there is none.

    Args:
        sides: the picture's height and width.
        least: the score from which there is an object.

    Example:
        >>> boxes = jnp.array([[[0.0, 0.0, 8.0, 4.0], [8.0, 2.0, 16.0, 10.0]]])
        >>> found = Detections(boxes, jnp.array([[0.9, 0.8]]), jnp.array([[1, 1]]))
        >>> told_of(found, classes=2, most=1, sides=(16, 16), least=0.5).tolist()
        [[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.75, 0.625, 0.5, 0.25]]
    """
    height, width = sides
    tall = found.boxes[..., 3] - found.boxes[..., 1]
    middle = (found.boxes[..., 0] + found.boxes[..., 2]) / (2 * width)
    there = found.scores >= least
    rows = jnp.stack(
        [
            jnp.ones_like(tall),
            middle,
            found.boxes[..., 3] / height,
            tall / height,
            jnp.minimum(1.0, 2 / jnp.maximum(tall, 1e-3)),
        ],
        axis=-1,
    )  # (batch, objects, 5)
    own = (found.classes[:, None] == jnp.arange(classes)[None, :, None]) & there[:, None]  # (batch, classes, objects)
    order, place = jax.lax.top_k(jnp.where(own, tall[:, None], -1.0), most)  # (batch, classes, most)
    taken = jax.vmap(lambda rows, place: rows[place])(rows, place)  # (batch, classes, most, 5)
    return jnp.where((order >= 0)[..., None], taken, 0.0).reshape(len(tall), -1)  # (batch, classes·most·5)


class Seen(Layer):
    """What is seen by a sight that does not learn any further, ``(batch, features)``. Params and state: the sight's."""

    sight: Sight

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return (("sight", self.sight),)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        shapes: Any
        params, state, shapes = self.sight.init(key, in_shape)
        return params, state, shapes["seen"]

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        return self.sight.apply(params, state, x)[0]["seen"], state


class Detecting(Layer):
    """A policy that acts on what is seen in a picture (:class:`Sight`), and on nothing else.

    Outputs: those of the sight, and ``"policy"`` ``(batch, numbers)``. Params and state: ``(sight's, policy's)``.

    Args:
        sight: pictures to what is seen in them.
        policy: that to the numbers of the policy.
    """

    sight: Sight
    policy: Layer

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return (("sight", self.sight), ("policy", self.policy))

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        shapes: Any
        sight, first, shapes = self.sight.init(jax.random.fold_in(key, 0), in_shape)
        policy, second, out = self.policy.init(jax.random.fold_in(key, 1), shapes["seen"])
        return (sight, policy), (first, second), {**shapes, "policy": out}

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[dict[str, jax.Array], State]:
        outputs, first = self.sight.apply(params[0], state[0], x, train=train, key=key)
        numbers, second = self.policy.apply(params[1], state[1], outputs["seen"], train=train, key=key)
        return {**outputs, "policy": numbers}, (first, second)


class Seeing(Blueprint):
    """A part of the error of what is seen, ``(batch,)``: of the ``objects``, :class:`~danlu.nn.losses.DetectionLoss`, or else of the
    quantities, ``Σ_j (ŷ_j − y_j)²``."""

    objects: bool

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        truth = targets["truth"]
        if not self.objects:
            return jnp.square(outputs["numbers"] - truth["numbers"]).sum(axis=-1)
        return DetectionLoss(stride=STRIDE, size=SIZE)(
            outputs["cells"], {"boxes": truth["boxes"], "labels": truth["labels"]}
        )


class DetectingLoss(Loss):
    """``−log π(a|s) + w·(L_detection + Σ_j (ŷ_j − y_j)²)``: of the action; and of what is seen, the objects by danlu's
    :class:`~danlu.nn.losses.DetectionLoss` and the quantities by their squared errors.

    Args:
        distribution: π.
        weight: w.
    """

    distribution: Distribution
    weight: float = setting(default=1.0, minimum=0)

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        wrong = Seeing(objects=True)(outputs, targets) + Seeing(objects=False)(outputs, targets)
        return CloningLoss(self.distribution)(outputs["policy"], targets) + self.weight * wrong


def sight_of(env: Environment, *, width: int = 8) -> Sight:
    """What sees in the pictures of an environment that says what is in them (:meth:`Environment.truth`).

    Args:
        width: of the detector; see :class:`~danlu.nn.Detector`.

    Raises:
        ConfigError: it does not say.
    """
    truth: Any = jax.eval_shape(lambda key: env.truth(env.reset(key)[0]), jax.random.key(0)) if env.detected else None
    if truth is None:
        raise ConfigError(
            f"a detector was asked for, and {env.id} does not say what is in a picture",
            hint="leave agent.settings.detector out; or of driving agent.environment.observation=camera",
        )
    gauge = mlp((128,), truth["numbers"].shape[0], activation="relu")
    detector = Detector(len(env.detected), stride=STRIDE, width=width, size=SIZE)
    return Sight(detector, Sequential((encoder(env.observation_space), *gauge.layers)))
