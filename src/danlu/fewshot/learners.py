"""Learners: how the support of an episode answers its queries.

A learner gives logits of queries by the support of their episode, as a function of the network's variables. There are two kinds. One
*compares*: the network gives vectors, and queries are told by how near theirs lie to those of the support. The other *adapts*: some steps
of gradient descent learn from the support, and what comes out answers. The second kind needs nothing that the engine has not: the inner
training is an ordinary program, unrolled; a gradient through it is MAML, and one that stops at the inner gradients is FOMAML.
"""

from __future__ import annotations

import abc
from typing import Any

import jax
import jax.numpy as jnp

from danlu import optim
from danlu.blueprint import Blueprint, setting
from danlu.engine import Objective, Program, TrainState, unrolled
from danlu.engine.gradient import Whole
from danlu.fewshot.compare import COMPARISONS, unit
from danlu.nn import Dense, Layer, Sequential, get_loss

__all__ = ["Adapting", "Comparing", "FirstOrder", "Learner", "Probing", "adapted"]


class Learner(Blueprint, abc.ABC):
    """How a support answers queries; the base of all.

    The parameters are ``(of the network, of a last layer)``; the second is ``{}`` where there is no such layer. So is the state.
    """

    @abc.abstractmethod
    def logits(self, network: Layer, params: Any, state: Any, support: Any, queries: Any, key: jax.Array) -> Any:
        """The logits of one episode, ``(queries, ways)``, of pictures (or vectors, see :attr:`compares`).

        Args:
            network: gives the vectors.
            params, state: pairs, see the class.
            support: ``(ways, shots, …)``.
            queries: ``(queries, …)``.
            key: for random draws.
        """

    @property
    def compares(self) -> bool:
        """Whether ``support`` and ``queries`` are the network's vectors, and it needs nothing else of the network."""
        return True


class Comparing(Learner):
    """By distances or cosines of vectors; see :mod:`danlu.fewshot.compare`.

    Args:
        comparison: ``"prototypes"``, ``"matching"`` or ``"cosine"``.
        scale: what they are multiplied by.
    """

    comparison: str = setting(default="prototypes", choices=tuple(COMPARISONS))
    scale: float = setting(default=1.0, above=0)

    def logits(self, network: Layer, params: Any, state: Any, support: Any, queries: Any, key: jax.Array) -> Any:
        return COMPARISONS[self.comparison](support, queries, self.scale)


class FirstOrder(Whole):
    """The gradient of the whole batch, which is no function of the parameters to whoever differentiates through the step.

    Reference: Finn, Abbeel & Levine (2017), section 5.2: MAML without second derivatives.
    """

    def __call__(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Any:
        grads, after, sums = super().__call__(objective, state, batch, key)
        return jax.lax.stop_gradient(grads), after, sums


def adapted(program: Any, params: Any, state: Any, support: Any, steps: int, key: jax.Array, rate: Any = 0.0) -> Any:
    """``(params, state)`` after some steps of a program on all of the support, a function of ``params`` that has a gradient.

    Args:
        program: the inner training; its optimizer is :func:`~danlu.optim.sgd`.
        support: ``{"x", "y"}``, the rows of each step.
        rate: the optimizer's.
    """
    rows = support["y"].shape[0]
    batch = {**support, "weight": jnp.ones(rows)}
    begun = TrainState(jnp.int32(0), key, params, state, optim.sgd(rate).init(params), {})
    many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (steps, *leaf.shape)), batch)
    learnt, _ = unrolled(program, begun, many)
    return learnt.params, learnt.model_state


class Adapting(Learner):
    """Some steps of gradient descent on the support, then the network that comes out: MAML, FOMAML, Reptile.

    The last layer has one vector, which each class of an episode begins with, so that there may be any number of classes and their order
    does not matter.

    Args:
        steps: of gradient descent.
        rate: of it.
        order: ``"second"`` differentiates through the steps, ``"first"`` takes their gradients as given.

    Reference: Finn, Abbeel & Levine, "Model-agnostic meta-learning for fast adaptation of deep networks" (2017), algorithm 2. Ye & Chao,
    "How to train your MAML to excel in few-shot classification" (2022), section 5, for the one vector.
    """

    steps: int = setting(default=5, minimum=1, integer=True)
    rate: float = setting(default=0.1, above=0)
    order: str = setting(default="second", choices=("second", "first"))

    @property
    def compares(self) -> bool:
        return False

    def program(self, network: Layer, ways: int) -> Program:
        """The inner training of a classifier of so many classes."""
        gradient = Whole() if self.order == "second" else FirstOrder()
        last = Sequential((network, Dense(ways)))
        return Program.of(last, get_loss("categorical_cross_entropy"), optim.sgd(self.rate).update, gradient=gradient)

    def taught(
        self, network: Layer, params: Any, state: Any, x: Any, y: Any, ways: int, key: jax.Array
    ) -> tuple[Layer, Any, Any]:
        """The classifier that learnt examples ``x (rows, …)`` of the classes ``y (rows,)``, with its variables."""
        program = self.program(network, ways)
        vector = jnp.broadcast_to(params[1]["kernel"], (params[1]["kernel"].shape[0], ways))
        begun = (params[0], {"kernel": vector, "bias": jnp.zeros(ways)})
        learnt = adapted(program, begun, (state[0], {}), {"x": x, "y": y}, self.steps, key, self.rate)
        return program.model, *learnt

    def logits(self, network: Layer, params: Any, state: Any, support: Any, queries: Any, key: jax.Array) -> Any:
        model, own, after = self.taught(network, params, state, *_rows(support), support.shape[0], key)
        return model.apply(own, after, queries, train=False)[0]


class Probing(Learner):
    """A linear classifier learnt from the support's vectors, the network as it is: a linear probe.

    Its training is that of :class:`Adapting`, of the last layer alone, on vectors of length 1; it has one optimum.

    Args:
        steps: of gradient descent.
        rate: of it.
        scale: what the vectors of length 1 are multiplied by.
    """

    steps: int = setting(default=100, minimum=1, integer=True)
    rate: float = setting(default=0.1, above=0)
    scale: float = setting(default=4.0, above=0)

    def taught(self, x: Any, y: Any, ways: int, key: jax.Array) -> Any:
        """``{"kernel", "bias"}`` of the classifier that learnt vectors ``x (rows, d)`` of the classes ``y (rows,)``."""
        program = Program.of(Dense(ways), get_loss("categorical_cross_entropy"), optim.sgd(self.rate).update)
        begun = {"kernel": jnp.zeros((x.shape[1], ways)), "bias": jnp.zeros(ways)}
        return adapted(program, begun, {}, {"x": self.scale * unit(x), "y": y}, self.steps, key, self.rate)[0]

    def logits(self, network: Layer, params: Any, state: Any, support: Any, queries: Any, key: jax.Array) -> Any:
        own = self.taught(*_rows(support), support.shape[0], key)
        return self.scale * unit(queries) @ own["kernel"] + own["bias"][None]


def _rows(support: Any) -> tuple[Any, Any]:
    """The examples ``(ways·shots, …)`` of a support ``(ways, shots, …)``, and the class of each."""
    ways, shots = support.shape[:2]
    return support.reshape(-1, *support.shape[2:]), jnp.repeat(jnp.arange(ways), shots)  # (ways * shots, ...)
