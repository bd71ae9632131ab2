"""The doctor: what it measures inside a network, against the same in NumPy, and what it says of states whose fault is known."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from danlu import nn, optim
from danlu.engine import Program
from danlu.engine.callback import Batch
from danlu.engine.case import Case, Clues, constant_loss, samples
from danlu.engine.doctor import findings_of
from danlu.engine.examine import examine
from danlu.engine.seen import seen
from danlu.engine.state import TrainState
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw

__all__: list[str] = []

RATE = 0.1
X, Y = draw(32, 3), draw(32, seed=1)
HIDDEN, OUT = draw(3, 4, seed=2), draw(4, 1, seed=3)
BIAS = np.array([0.0, -50.0, 0.3, -50.0])  # two of four units are 0 for every row
MODEL = nn.Sequential((nn.Dense(4, "relu"), nn.Dense(1)))


def state_of(hidden: Any, bias: Any, out: Any, rate: float = RATE) -> tuple[Program, TrainState]:
    """A network before a step of gradient descent."""
    layers = ((hidden, bias), (out, np.zeros(1)))
    params = tuple({"kernel": jnp.asarray(k, jnp.float32), "bias": jnp.asarray(b, jnp.float32)} for k, b in layers)
    optimizer = optim.sgd(rate)
    program = Program.of(MODEL, nn.get_loss("mse"), optimizer.update, batch_size=8)
    return program, TrainState.start(params, optimizer.init(params), model_state=({}, {}))


def by_hand(x: Any, y: Any, hidden: Any, bias: Any, out: Any) -> tuple[float, list[Any], np.ndarray]:
    """The loss, the gradients ``[kernel, bias, kernel, bias]`` and the hidden units of the mean squared error."""
    z = x @ hidden + bias
    h = np.maximum(z, 0)
    error = (h @ out)[:, 0] - y
    d = (2 * error / len(y))[:, None]
    back = d @ out.T * (z > 0)
    return float(np.mean(error**2)), [x.T @ back, back.sum(0), h.T @ d, d.sum(0)], h


def norm(*arrays: Any) -> float:
    """The root of the sum of all squares."""
    return float(np.sqrt(sum(float(np.square(a).sum()) for a in arrays)))


@case("engine.examination")
def examination(check: Check) -> None:
    """Norms of gradients, updates and weights, the share of idle units, and the loss of the best constant answer."""
    program, state = state_of(HIDDEN, BIAS, OUT)
    (exam,) = examine(program, state, {"x": X, "y": Y, "weight": np.ones(32)})
    loss, grads, hidden = by_hand(X, Y, HIDDEN, BIAS, OUT)
    first, last = exam.layers
    check(exam.loss, loss)
    check([first.gradient, last.gradient], [norm(*grads[:2]), norm(*grads[2:])])
    check([first.update, last.update], [RATE * norm(*grads[:2]), RATE * norm(*grads[2:])])
    weights = norm(HIDDEN, BIAS), norm(OUT)
    check([first.weight, last.weight], weights)
    check(exam.ratio, RATE * norm(*grads) / norm(*weights))
    check(last.gain, norm(OUT) / np.sqrt(OUT.size) * np.sqrt(len(OUT)))
    check([units.idle for units in exam.units], [np.mean(np.all(hidden == 0, axis=0))])
    order = np.arange(32)[::-1]
    rows, slope = seen(program, state, Batch({"x": X, "y": Y, "weight": np.ones(32)}, jnp.asarray(order), 1)) or (
        {},
        {},
    )
    second = order[8:16]
    check(rows["x"], X[second])
    check(slope[0]["kernel"], by_hand(X[second], Y[second], HIDDEN, BIAS, OUT)[1][0], floor=0.1)
    weight = np.linspace(0.5, 2, 32)
    mean = np.average(Y, weights=weight)
    check(constant_loss("MSE", Y, weight) or 0.0, np.average((Y - mean) ** 2, weights=weight))


@case("engine.diagnosis")
def diagnosis(check: Check) -> None:
    """States with one fault each, and one without: which are told to have it."""
    kinds = ("dead_units", "rate_too_high", "rate_too_low", "zero_weights")
    zero = np.zeros_like
    of = {
        "none": (state_of(HIDDEN, zero(BIAS), OUT), 0.5, 0.2),
        "dead_units": (state_of(HIDDEN, zero(BIAS) - 50, OUT), 1.0, 0.2),
        "rate_too_high": (state_of(0.01 * HIDDEN + 0.1, zero(BIAS), 0.01 * OUT + 0.1), 1.5, 0.2),
        "rate_too_low": (state_of(HIDDEN, zero(BIAS), OUT, rate=1e-6), 1.0, 1e-6),
        "zero_weights": (state_of(zero(HIDDEN) + 0.3, zero(BIAS), OUT), 1.0, 0.2),
    }
    batch = {"x": X, "y": Y, "weight": np.ones(32)}
    for kind, ((program, state), share, moved) in of.items():
        constant = float(np.var(Y))
        before = samples(state.params, None)
        now = {path: each * (1 + moved) + moved for path, each in before.items()}
        clues = Clues(program, state, batch, constant, False, before, now)
        losses = np.array([constant, share * constant])
        case = Case(clues, losses, np.ones(0), np.full(2, RATE), 400, exam=examine(program, state, batch)[0])
        found = [each.kind for each in findings_of(case)]
        check([each in found for each in kinds], [each == kind for each in kinds], oracle="by construction")
