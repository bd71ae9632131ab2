"""What training minimises: an objective, and how its values for a batch count in a mean over rows.

An objective is a pure function of parameters, state, batch and key. :class:`Supervised` is the one of a network with a loss and metrics of
its outputs; a class of one's own may apply several networks, draw random numbers or compare rows with each other. The step knows no
other kind.

What is said of a batch is a value for each row, or one number for the batch. Values of rows are weighed row by row, and their mean over
an epoch does not depend on how the rows were divided into batches. A *scalar* is a statement about the batch as a whole (a variance,
InfoNCE, an area under a curve). It counts with the batch's Σ w, and is never taken apart:

- A function with a third argument, or one called ``weights``, is given the rows' weights; rows of weight 0 fill the last batch up.
- One without sees complete batches only: in training the rows that fill no batch are left out of the epoch (others in the next);
  weights that differ are refused.
- To judge, rows are drawn in one fixed sequence and divided evenly into batches of at most the training's size, so that no batch is
  filled up and none is tiny; what is reported is the mean of the batches' values, each counted by its rows.
- Micro-batches, gradients of single rows and devices take a batch apart, and are refused.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint, setting
from danlu.engine.measures import Measure, TakesWeights, direction_of, value_of
from danlu.engine.precision import PRECISIONS, apply_in, cast_in
from danlu.nn.layer import Layer

__all__ = ["InPrecision", "Objective", "Sums", "Supervised", "measured", "weight_of"]

Sums = dict[str, jax.Array]
_WEIGHT = ":weight"


class Objective(Blueprint, abc.ABC):
    """What training minimises: a function of parameters, state, batch and key.

    ``objective(params, state, batch, key, train=…) -> (values, state, measures)``. It applies the network itself, as often and to what it
    likes. Subclass it (a subclass is a frozen dataclass, so that two equal ones are one compiled program) and pass it as ``loss``.

    Args (of the call):
        params, state: the network's.
        batch: ``{"x", "y", "weight"}``; rows of weight 0 fill the last batch up and must not count.
        key: for random draws; to judge, the same at each epoch.
        train: whether this is a step of training; to judge, the returned state is left out.

    Returns (of the call):
        ``values``: one a row ``(batch,)``, which the engine weighs by ``batch["weight"]``, or a scalar for the batch, in which the weights
        have been seen to; or a dict of such *terms*, whose weighted sum is made small. The terms' weights are arrays in the training
        state (``loss_weights=``, and ``training.weights`` in a callback): another weight needs no other program. ``state``: the
        network's state after. ``measures``: a dict of further values of either form, which stand in the history, as terms do.

    Attributes:
        directions: for terms and measures that may be monitored, ``{"name": "min" or "max"}``.
        complete: the names of scalars that do not use ``batch["weight"]`` and so count in full batches only.

    Example:
        >>> from danlu import fit, nn
        >>> class Smooth(Objective):
        ...     model: nn.Layer
        ...     def __call__(self, params, state, batch, key, *, train):
        ...         x = batch["x"]
        ...         y, state = self.model.apply(params, state, x, train=train, key=key)
        ...         near, _ = self.model.apply(params, state, x + 0.01 * jax.random.normal(key, x.shape), train=False)
        ...         return {"error": jnp.square(y[:, 0] - batch["y"]), "slope": jnp.square(y - near)[:, 0]}, state, {}
        >>> x = jnp.linspace(-1, 1, 8)[:, None]
        >>> fitted = fit(nn.Dense(1), (x, x[:, 0]), loss=Smooth(nn.Dense(1)), loss_weights={"slope": 0.1}, epochs=1, display="none")
        >>> row = fitted.history[0]
        >>> bool(abs(row["error"] + 0.1 * row["slope"] - row["loss"]) < 1e-6)
        True
    """

    directions: ClassVar[Mapping[str, str]] = {}

    @abc.abstractmethod
    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        """See the class."""

    @property
    def terms(self) -> tuple[tuple[str, Measure], ...]:
        """The terms that are functions of outputs and targets, by name; ``"loss"`` if there is only one."""
        return ()

    @property
    def measures(self) -> dict[str, Measure]:
        """These terms and such metrics, which are looked at before training."""
        return dict(self.terms)

    @property
    def complete(self) -> frozenset[str]:
        """The scalar terms, which count only if every row of the batch does."""
        return frozenset()

    def direction(self, name: str) -> str | None:
        """``"min"`` or ``"max"``: which values of a term or measure are better; None where that is not said."""
        return self.directions.get(name)


class Supervised(Objective):
    """A loss of a network's outputs, with metrics.

    Args:
        model: the network.
        loss: ``loss(outputs, targets)``, or several as ``((name, loss), …)``, each a term.
        metrics: ``((name, metric), …)``, each a function like the loss.
        precision: what the network computes in while it is trained; see :mod:`danlu.engine.precision`.
    """

    model: Layer
    loss: Any
    metrics: tuple[Any, ...] = ()
    precision: str = setting(default="float32", choices=tuple(PRECISIONS))

    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        if train:
            outputs, state = apply_in(self.precision, self.model, params, state, batch["x"], key=key)
        else:
            outputs, _ = self.model.apply(params, state, batch["x"], train=False)
        say = functools.partial(value_of, outputs=outputs, targets=batch["y"], weight=batch["weight"])
        return (
            {name: say(term) for name, term in self.terms},
            state,
            {name: say(metric) for name, metric in self.metrics},
        )

    @property
    def terms(self) -> tuple[tuple[str, Measure], ...]:
        return self.loss if isinstance(self.loss, tuple) else (("loss", self.loss),)

    @property
    def measures(self) -> dict[str, Measure]:
        return {**dict(self.terms), **dict(self.metrics)}

    @property
    def complete(self) -> frozenset[str]:
        return frozenset(name for name, measure in self.measures.items() if not isinstance(measure, TakesWeights))

    def direction(self, name: str) -> str | None:
        return direction_of(self.measures[name])


class InPrecision(Objective):
    """An objective whose parameters and batch are cast to ``precision`` in training; how it sums up is its own.

    Args:
        objective: the objective.
        precision: see :mod:`danlu.engine.precision`.
    """

    objective: Objective
    precision: str = setting(default="bfloat16", choices=tuple(PRECISIONS))

    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        params, seen = cast_in(self.precision, (params, batch), train=train)
        return self.objective(params, state, {**seen, "weight": batch["weight"]}, key, train=train)

    @property
    def complete(self) -> frozenset[str]:
        return self.objective.complete

    def direction(self, name: str) -> str | None:
        return self.objective.direction(name)


def measured(
    objective: Objective,
    params: Any,
    model_state: Any,
    batch: dict[str, Any],
    key: jax.Array,
    weights: Mapping[str, Any],
    *,
    train: bool,
) -> tuple[Any, Sums]:
    """The state after a batch, and the batch's sums.

    ``"loss"`` is Σ_k c_k·Σ_i w_i·v_ki over terms k and rows i, ``"weight"`` is Σ_i w_i, and every term and measure has its own Σ w·v; where
    one of them is a scalar, each has a Σ w of its own (see :func:`weight_of`), since not every batch counts for each.

    Args:
        weights: c_k by name; 1 for a term that is not named.
    """
    values, after, found = objective(params, model_state, batch, key, train=train)
    terms = values if isinstance(values, Mapping) else {"loss": values}
    said = {name: jnp.asarray(value) for name, value in {**terms, **found}.items()}
    sums: Sums = {}
    counts: Sums = {}
    for name, value in said.items():
        sums[name], counts[name] = _weighed(value, batch["weight"], complete=name in objective.complete)
    scalars = any(value.ndim == 0 for value in said.values())
    parts = [sums[name] * weights[name] if name in weights else sums[name] for name in terms]
    weight = functools.reduce(jnp.minimum, [counts[name] for name in terms]) if scalars else counts[next(iter(terms))]
    loss = functools.reduce(jnp.add, parts)
    own = {weight_of(name): count for name, count in counts.items() if name != "loss"} if scalars else {}
    sums = {**sums, **own, "loss": jnp.where(weight > 0, loss, 0) if len(parts) > 1 and scalars else loss}
    sums = jax.tree.map(lambda value: value.astype(jnp.result_type(float)), {**sums, "weight": weight})
    return jax.tree.map(_typed, after, model_state) if train else model_state, sums


def weight_of(name: str) -> str:
    """The name of a measure's Σ w among the sums."""
    return name + _WEIGHT


def _typed(new: jax.Array, old: jax.Array) -> jax.Array:
    return new if new.dtype == old.dtype else new.astype(old.dtype)


def _weighed(value: jax.Array, weight: jax.Array, *, complete: bool) -> tuple[jax.Array, jax.Array]:
    """``(Σ w·v, Σ w)`` of values ``(batch,)``; of a scalar ``(v·Σ w, Σ w)``.

    Args:
        complete: whether a scalar counts only when every row does; a batch that is filled up is then ``(0, 0)``.
    """
    total = jnp.sum(weight)
    if value.ndim:
        return jnp.sum(weight * value), total
    total = jnp.where(jnp.all(weight > 0) if complete else total > 0, total, 0)
    return jnp.where(total > 0, total * value, 0), total
