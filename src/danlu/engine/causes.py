"""What keeps a training from learning: rules, causes before what follows from them. Each gives its finding, or None.

The limits were set on made trainings like those of ``tests/engine/test_engine_doctor.py`` (other seeds of the healthy ones), not on
independent ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from danlu.engine.case import Case, columns_of, loss_name
from danlu.engine.health import Finding

__all__ = [
    "CAUSES",
    "changed_rate",
    "exploding",
    "hardly_moved",
    "higher_rate",
    "lower_rate",
    "no_gradient",
    "rate_too_high",
    "told_rate",
]

FEW_STEPS = 20  # below that nothing can be said
_FAR = 30.0  # root mean square of inputs from which on they are not scaled
_IDLE = 0.5  # share of a layer's units
_HIGH = 0.1  # a step's share of the weights' size above which a rate is too high
_SOUND = 0.01  # a learning rate that most trainings bear
_LOW = 0.05, 2e-4  # what all steps together moved, and a step in the mean, below both of which a rate is too low


def _zero_weights(case: Case) -> Finding | None:
    alike = [layer for layer in case.seen.layers if layer.alike]
    hidden = [layer for layer in case.seen.layers if layer.gain > 0 or layer.alike]
    if not alike or len(hidden) < 2 or case.learnt:
        return None
    zero = all(layer.weight == 0 for layer in alike)
    return Finding(
        "zero_weights",
        f"all units of layer {alike[0].name} are the same",
        f"{'their weights are all 0' if zero else 'each has the weights of the first'} after {case.steps:,} steps, "
        "since equal units get equal gradients",
        "draw the initial weights at random, as danlu's layers do by default",
        "model=danlu.nn.Dense(…, initializer=None)",
    )


def _unscaled_inputs(case: Case) -> Finding | None:
    if case.learnt:
        return None
    sizes = [
        (float(np.sqrt(np.mean(np.square(column)))), place)
        for place, column in columns_of(case.clues.batch["x"])
        if np.issubdtype(column.dtype, np.floating)
    ]
    size, place = max(sizes, default=(0.0, ""))
    if size < _FAR:
        return None
    return Finding(
        "unscaled_inputs",
        "the inputs are not scaled",
        f"{place} has a root mean square of {size:.3g}, and the loss ends at {_against(case)}",
        "bring each column to mean 0 and standard deviation 1: x = (x - x.mean(0)) / x.std(0)",
    )


def _unscaled_targets(case: Case) -> Finding | None:
    y, loss = np.asarray(case.clues.batch["y"]), loss_name(case.clues.program)
    if case.learnt or loss not in ("MSE", "HalfMSE", "MAE", "Huber") or not np.issubdtype(y.dtype, np.floating):
        return None
    size = float(np.sqrt(np.mean(np.square(y.astype(np.float64)))))
    if size < _FAR:
        return None
    return Finding(
        "unscaled_targets",
        "the targets are not scaled",
        f"their root mean square is {size:.3g}, and the loss ends at {_against(case)}",
        "learn (y - y.mean()) / y.std(), and scale the predictions back",
    )


def _loss_scale(case: Case) -> Finding | None:
    size = math.sqrt(sum(layer.gradient**2 for layer in case.seen.layers))
    mean = size / math.sqrt(max(sum(layer.size for layer in case.seen.layers), 1))
    if case.learnt or not 0 < mean < 1e-7 or case.scale < 1e-2:
        return None
    return Finding(
        "loss_scale",
        "the loss is very small in itself, and so are its gradients",
        f"the loss is {case.seen.loss:.3g} and a weight's gradient {mean:.1e}, below what Adam's epsilon of 1e-8 lets through well",
        "multiply the loss by a constant so that it is about 1 in the beginning",
    )


def _large_weights(case: Case) -> Finding | None:
    worst = max(case.seen.layers, key=lambda layer: layer.gain, default=None)
    if worst is None or worst.gain < 8 * max(case.grown, 1.0) or case.seen.ratio * case.peak > 0.05:
        return None
    start = float(case.losses[0])
    if case.clues.constant is not None and start < 10 * case.clues.constant:
        return None
    return Finding(
        "large_weights",
        f"the initial weights of layer {worst.name} are too large",
        f"they make what the layer is given {worst.gain:.3g} times as large (1 to 1.5 is usual); "
        f"the loss of the first epoch is {start:.3g}",
        "use danlu's default initial weights, or initializer='he_normal'",
        "model=danlu.nn.Dense(…, initializer='he_normal')",
    )


def rate_too_high(case: Case, *, always: bool = False) -> Finding | None:
    """Steps that are too large for the weights.

    Args:
        always: whether it is known that something went wrong, so that the losses need not show it.
    """
    grown, rising = case.grown, case.losses[-1] > 2 * case.losses[0] or case.jumped
    share = case.seen.ratio * case.peak * max(grown, 1.0)  # of the weights' first size
    if case.learnt and not case.jumped and not always:
        return None
    if not share > (_HIGH if not rising else 0.02) and not grown > 3:
        return None
    low = case.losses.min()
    shown = (
        f"the loss is {case.losses[-1]:.3g} after it was {low:.3g}" if case.jumped else f"the loss is {_against(case)}"
    )
    if always:
        shown = f"the loss was {case.seen.loss:.3g} before"
    if grown > 3:
        evidence = f"the weights have grown {grown:.3g} times as large in {case.steps:,} steps, and {shown}"
    else:
        evidence = (
            f"a step changes the weights by {100 * share:.2g} % of their size (about 0.1 to 1 % is usual), and {shown}"
        )
    rate = _rate(case)
    lower = lower_rate(case, max(share / 0.003, 3))
    return Finding(
        "rate_too_high",
        "the learning rate is too high" if math.isfinite(rate) else "the steps are too large",
        evidence,
        told_rate(lower, "a lower learning rate, such as {rate}, or clipping the gradient"),
        *changed_rate(lower),
    )


def _dead_units(case: Case) -> Finding | None:
    dead = [units for units in case.seen.units if units.kind == "relu" and units.idle >= _IDLE]
    if not dead:
        return None
    worst = max(dead, key=lambda units: units.idle)
    return Finding(
        "dead_units",
        "units are dead (ReLU)",
        f"after {worst.after} {100 * worst.idle:.0f} % of {worst.units} units are 0 for every row of {_rows(case)}, "
        "so they get no gradient",
        "a lower learning rate, biases that start at 0, or 'leaky_relu', 'gelu' instead of 'relu'",
        *changed_rate(lower_rate(case, 10)),
    )


def _saturated_units(case: Case) -> Finding | None:
    found = [units for units in case.seen.units if units.kind == "bounded" and units.idle >= _IDLE]
    if not found:
        return None
    worst = max(found, key=lambda units: units.idle)
    return Finding(
        "saturated_units",
        "units are saturated (sigmoid, tanh)",
        f"after {worst.after} {100 * worst.idle:.0f} % of {worst.units} units are at a bound for nearly every row of {_rows(case)}, "
        "where they pass no gradient on",
        "smaller initial weights, scaled inputs, or a layer of nn.LayerNorm() before them",
    )


def exploding(case: Case, *, always: bool = False) -> Finding | None:
    """Gradients that are far larger than the weights and the loss explain.

    Args:
        always: whether it is known that values grew from step to step of a sequence.
    """
    if not always and (case.learnt or not case.scale > 1e3):
        return None
    worst = max(case.seen.layers, key=lambda layer: layer.gradient)
    return Finding(
        "exploding_gradients",
        "the gradients explode",
        f"that of layer {worst.name} has norm {worst.gradient:.3g} at weights of norm {worst.weight:.3g} "
        f"and a loss of {case.seen.loss:.3g}",
        "clip the gradient to a norm of 1, and use normalisation or gated cells (nn.LSTM) in deep or long networks",
        "optimizer=danlu.optim.chain(danlu.optim.clip_by_global_norm(1.0), danlu.optim.adam(1e-3))",
    )


def _vanishing(case: Case) -> Finding | None:
    layers = [layer for layer in case.seen.layers if layer.gain > 0]
    if len(layers) < 3 or case.learnt:
        return None
    each = [layer.gradient / math.sqrt(layer.size) for layer in layers]
    least, most = int(np.argmin(each)), int(np.argmax(each))
    if least >= most or each[most] == 0 or each[least] > 1e-4 * each[most]:
        return None
    return Finding(
        "vanishing_gradients",
        "the gradients vanish on their way back",
        f"a weight of layer {layers[least].name} gets a gradient of {each[least]:.1e}, one of layer {layers[most].name} {each[most]:.1e}",
        "'relu' or 'gelu' instead of sigmoid and tanh, residual connections (nn.Residual), or normalisation (nn.LayerNorm)",
    )


def no_gradient(case: Case) -> Finding | None:
    """A layer that gets no gradient and has never moved."""
    none = [layer for layer in case.seen.layers if layer.gradient == 0 and layer.weight > 0]
    still = [layer for layer in none if any(path.startswith(layer.name) for path in case.still)]
    if not still:
        return None
    return Finding(
        "no_gradient",
        f"layer {still[0].name} does not learn",
        f"its gradient is exactly 0, and its weights have not moved in {case.steps:,} steps"
        + (f"; the same holds for {len(still) - 1} other layers" if len(still) > 1 else ""),
        "look for stop_gradient, a comparison, rounding or argmax between the layer and the loss; danlu.optim.by_part freezes on purpose",
    )


def hardly_moved(case: Case) -> bool:
    """Whether all steps together hardly change the weights."""
    way, steps = case.way
    return way < _LOW[0] and way < _LOW[1] * steps


def _rate_too_low(case: Case) -> Finding | None:
    way, fallen = case.moved, case.losses[0] - case.losses[-1]
    if case.learnt or not hardly_moved(case) or case.scale < 1e-3 or fallen > 0.05 * abs(case.losses[0]):
        return None
    higher = higher_rate(case)
    return Finding(
        "rate_too_low",
        "the learning rate is too low",
        f"all {case.steps:,} steps together moved the weights by {100 * way:.2g} % of their size; the loss went from "
        f"{case.losses[0]:.4g} to {case.losses[-1]:.4g}",
        told_rate(higher, "a higher learning rate, such as {rate}, or more epochs"),
        *changed_rate(higher),
    )


def _class_collapse(case: Case) -> Finding | None:
    outputs, y = case.seen.outputs, np.asarray(case.clues.batch["y"])
    if outputs is None or not np.issubdtype(y.dtype, np.integer) or y.ndim != 1 or outputs.shape[0] != y.size:
        return None
    if loss_name(case.clues.program) == "BinaryCrossEntropy":
        answers = (outputs.reshape(y.size, -1).mean(1) > 0).astype(int)  # (rows, members) to (rows,)
    elif outputs.ndim < 2 or outputs.shape[-1] < 2:
        return None
    else:
        answers = outputs.reshape(y.size, -1, outputs.shape[-1]).mean(1).argmax(1)  # (rows, members, classes)
    rows = np.asarray(case.clues.batch["weight"]) > 0
    answers, y = answers[rows], y[rows]
    given, share = np.unique(answers), np.bincount(y) / max(y.size, 1)
    if given.size > 1 or y.size < 20 or share.max() > 0.95:
        return None
    return Finding(
        "class_collapse",
        f"the network answers class {given[0]} for every row",
        f"of {y.size} rows {100 * (1 - share[given[0]] if given[0] < share.size else 1):.0f} % are of other classes, and the loss ends at "
        f"{_against(case)}",
        "check the classes' weights and the last layer's bias; for rare classes, weights that balance them",
        settings={"imbalance.class_weight": "balanced"},
    )


def _stuck(case: Case) -> Finding | None:
    if case.losses.min() < case.losses[0] - 0.02 * abs(case.losses[0]) and case.losses[-1] < 0.97 * case.reference:
        return None  # it goes down, if slowly
    if case.steps < 5 * FEW_STEPS or case.losses[-1] < 0.97 * case.reference:
        return None
    return Finding(
        "stuck",
        "the loss does not fall",
        f"it ends at {_against(case)} after {case.steps:,} steps",
        "see whether a few rows can be learnt by heart: danlu.fit(model, x[:20], y[:20], …); if not, the loss or the targets do not fit",
    )


CAUSES: tuple[Callable[[Case], Finding | None], ...] = (
    _zero_weights,
    _unscaled_inputs,
    _unscaled_targets,
    _loss_scale,
    _large_weights,
    rate_too_high,
    _dead_units,
    _saturated_units,
    exploding,
    _vanishing,
    no_gradient,
    _rate_too_low,
    _class_collapse,
    _stuck,
)
"""The rules, causes before what follows from them."""


def _rate(case: Case) -> float:
    """The largest learning rate so far; NaN where it is not known."""
    known = case.rates[np.isfinite(case.rates)]
    return float(known.max()) if known.size else math.nan


def _rounded(rate: float) -> str:
    return f"{float(f'{rate:.0e}'):g}"


def higher_rate(case: Case) -> float:
    """The rate with which all steps would move the weights by half their size; 0.01 at most, or ten times the one that there is."""
    rate = _rate(case)
    return min(rate * 0.5 / max(case.way[0], 1e-9), max(10 * rate, _SOUND))


def lower_rate(case: Case, by: float) -> float:
    """The rate divided by ``by``; 0.01 at most, since what a wild training did to its weights tells little of a sound one."""
    rate = _rate(case) / by
    return min(rate, _SOUND) if math.isfinite(rate) else rate


def told_rate(rate: float, words: str) -> str:
    """``words`` with the rate in them; without, where it is not known."""
    if not math.isfinite(rate):
        return words.replace(", such as {rate}", "")
    return words.replace("{rate}", _rounded(rate))


def changed_rate(rate: float) -> tuple[str, dict[str, str]]:
    """Another learning rate as an argument of :func:`danlu.fit` and as a setting; empty where the rate is not known."""
    if not math.isfinite(rate) or rate <= 0:
        return "", {}
    return f"learning_rate={_rounded(rate)}", {"trainer.learning_rate": _rounded(rate)}


def _against(case: Case) -> str:
    """The last loss beside what it is compared with."""
    constant = case.clues.constant
    beside = f"a constant answer has {constant:.3g}" if constant is not None else f"it began at {case.losses[0]:.3g}"
    return f"{case.losses[-1]:.3g} ({beside})"


def _rows(case: Case) -> int:
    return len(case.clues.batch["weight"])
