"""Losses and penalties: the values and the gradients in the outputs, against NumPy, PyTorch and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.nn import losses
from danlu.nn.backprop.loss_rules import loss_backward
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw, finite_difference, to_torch

__all__: list[str] = []

Z, Y = 2 * draw(7, 3), draw(7, 3, seed=1)
LOGITS, CHANCES = 3 * draw(9), np.random.default_rng(1).integers(0, 2, 9)
CLASSES, LABELS = 2 * draw(8, 4), np.random.default_rng(2).integers(0, 4, 8)
SOFT = np.random.default_rng(3).dirichlet(np.ones(4), 8).astype(np.float32).astype(np.float64)


def compare(
    check: Check,
    loss: Any,
    outputs: Any,
    targets: Any,
    formula: Callable[[Any], Any],
    torch: Callable[[Any, Any, Any], Any] | None = None,
) -> None:
    """The value of each example and the gradient of their sum in the outputs, by autodiff and by the hand-written rule.

    Args:
        formula: one value for each example, of float64 outputs.
        torch: the same, of (torch, outputs, targets).
    """
    z = jnp.asarray(outputs, jnp.float32)
    y = jnp.asarray(targets, jnp.int32 if targets.dtype.kind == "i" else jnp.float32)

    def total(z: Any) -> tuple[Any, Any]:
        values = loss(z, y)
        return jnp.sum(values), values

    @jax.jit
    def run(z: Any) -> tuple[Any, Any, Any]:
        gradient, values = jax.grad(total, has_aux=True)(z)
        return values, gradient, loss_backward(loss, z, y, jnp.ones_like(values))[0]

    values, gradient, by_rule = run(z)
    check(values, formula(outputs))
    numeric = finite_difference(lambda z: float(formula(z).sum()), outputs)
    check(gradient, numeric, oracle="finite differences", floor=0.01)
    check(by_rule, numeric, oracle="finite differences", floor=0.01)
    if torch is not None and (module := check.module("torch")):
        theirs = to_torch(module, outputs, grad=True)
        out = torch(module, theirs, module.tensor(targets))
        out.sum().backward()
        check(values, out.detach().numpy(), oracle="torch")
        check(gradient, theirs.grad.numpy(), oracle="torch", floor=0.01)


def mean_of(loss: Any, outputs: Any, targets: Any) -> list[float]:
    """danlu's mean over the batch, for oracles that give only a mean."""
    mean = jax.jit(lambda z, y: losses.reduce(loss(z, y)))
    return [float(mean(jnp.asarray(outputs, jnp.float32), jnp.asarray(targets)))]


def sklearn_metric(check: Check, name: str, received: Any, *args: Any, **options: Any) -> None:
    if module := check.module("sklearn.metrics"):
        check(received, [getattr(module, name)(*args, **options)], oracle="sklearn")


@case("loss.mse")
def mse(check: Check) -> None:
    def torch(torch: Any, z: Any, y: Any) -> Any:
        return torch.nn.functional.mse_loss(z, y, reduction="none").mean(1)

    compare(check, losses.MSE(), Z, Y, lambda z: ((z - Y) ** 2).mean(1), torch)
    sklearn_metric(check, "mean_squared_error", mean_of(losses.MSE(), Z, Y), Y, Z)


@case("loss.half_mse")
def half_mse(check: Check) -> None:
    compare(check, losses.HalfMSE(), Z, Y, lambda z: ((z - Y) ** 2).mean(1) / 2)


@case("loss.mae")
def mae(check: Check) -> None:
    def torch(torch: Any, z: Any, y: Any) -> Any:
        return torch.nn.functional.l1_loss(z, y, reduction="none").mean(1)

    compare(check, losses.MAE(), Z, Y, lambda z: np.abs(z - Y).mean(1), torch)
    sklearn_metric(check, "mean_absolute_error", mean_of(losses.MAE(), Z, Y), Y, Z)


@case("loss.huber")
def huber(check: Check) -> None:
    def formula(z: Any) -> Any:
        error = np.abs(z - Y)
        return np.where(error <= 1.5, error**2 / 2, 1.5 * (error - 0.75)).mean(1)

    def torch(torch: Any, z: Any, y: Any) -> Any:
        return torch.nn.functional.huber_loss(z, y, reduction="none", delta=1.5).mean(1)

    compare(check, losses.Huber(1.5), Z, Y, formula, torch)


def log_logistic(z: Any) -> Any:
    return -np.logaddexp(0, -z)


@case("loss.binary_cross_entropy")
def binary_cross_entropy(check: Check) -> None:
    def formula(z: Any, y: Any = CHANCES) -> Any:
        return -(y * log_logistic(z) + (1 - y) * log_logistic(-z))

    def torch(torch: Any, z: Any, y: Any) -> Any:
        return torch.nn.functional.binary_cross_entropy_with_logits(z, y.double(), reduction="none")

    loss = losses.BinaryCrossEntropy(label_smoothing=0.0)
    compare(check, loss, LOGITS, CHANCES, formula, torch)
    probabilities = 1 / (1 + np.exp(-LOGITS))
    sklearn_metric(check, "log_loss", mean_of(loss, LOGITS, CHANCES), CHANCES, probabilities)
    smoothed = losses.BinaryCrossEntropy(label_smoothing=0.2)
    compare(check, smoothed, LOGITS, CHANCES, lambda z: formula(z, 0.8 * CHANCES + 0.1))
    # Stable where the probabilities are 0 and 1 in floating point.
    ends, truth = np.array([-1e4, 1e4, -1e4, 1e4]), np.array([0, 1, 1, 0])
    check(
        jax.jit(loss.__call__)(jnp.asarray(ends, jnp.float32), jnp.asarray(truth)),
        [0, 0, 1e4, 1e4],
        oracle="closed form",
    )


def log_softmax(z: Any) -> Any:
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


@case("loss.categorical_cross_entropy")
def categorical_cross_entropy(check: Check) -> None:
    def torch(torch: Any, z: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(z, y, reduction="none")

    loss, one_hot = losses.CategoricalCrossEntropy(label_smoothing=0.0), np.eye(4)[LABELS]
    compare(check, loss, CLASSES, LABELS, lambda z: -(one_hot * log_softmax(z)).sum(1), torch)
    compare(check, loss, CLASSES, SOFT, lambda z: -(SOFT * log_softmax(z)).sum(1), torch)
    probabilities = np.exp(log_softmax(CLASSES))
    sklearn_metric(check, "log_loss", mean_of(loss, CLASSES, LABELS), LABELS, probabilities, labels=range(4))
    ends = jnp.array([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0]])
    check(jax.jit(loss.__call__)(ends, jnp.array([0, 1])), [0, 2e4], oracle="closed form")


@case("loss.label_smoothing")
def label_smoothing(check: Check) -> None:
    def torch(torch: Any, z: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(z, y, reduction="none", label_smoothing=0.2)

    smooth = 0.8 * np.eye(4)[LABELS] + 0.05
    loss = losses.CategoricalCrossEntropy(label_smoothing=0.2)
    compare(check, loss, CLASSES, LABELS, lambda z: -(smooth * log_softmax(z)).sum(1), torch)


@case("loss.binary_focal")
def binary_focal(check: Check) -> None:
    def formula(z: Any) -> Any:
        log_p = np.where(CHANCES == 1, log_logistic(z), log_logistic(-z))
        return np.where(CHANCES == 1, 0.25, 0.75) * (1 - np.exp(log_p)) ** 2 * -log_p

    def torch(torch: Any, z: Any, y: Any) -> Any:
        bce = torch.nn.functional.binary_cross_entropy_with_logits(z, y.double(), reduction="none")
        return torch.where(y == 1, 0.25, 0.75) * (1 - torch.exp(-bce)) ** 2 * bce

    compare(check, losses.BinaryFocal(gamma=2.0, alpha=0.25), LOGITS, CHANCES, formula, torch)


@case("loss.categorical_focal")
def categorical_focal(check: Check) -> None:
    def formula(z: Any) -> Any:
        log_p = log_softmax(z)[np.arange(8), LABELS]
        return (1 - np.exp(log_p)) ** 2 * -log_p

    def torch(torch: Any, z: Any, y: Any) -> Any:
        ce = torch.nn.functional.cross_entropy(z, y, reduction="none")
        return (1 - torch.exp(-ce)) ** 2 * ce

    compare(check, losses.CategoricalFocal(gamma=2.0), CLASSES, LABELS, formula, torch)


@case("loss.token_cross_entropy")
def token_cross_entropy(check: Check) -> None:
    def torch(torch: Any, z: Any, y: Any) -> Any:
        flat = torch.nn.functional.cross_entropy(z.reshape(-1, 4), y.reshape(-1), ignore_index=-1, reduction="none")
        return flat.reshape(y.shape).sum(1) / (y >= 0).sum(1)

    logits, targets = draw(3, 5, 4), np.array([[0, 3, 1, -1, -1], [2, 2, 0, 1, 3], [-1, -1, -1, -1, 1]])
    counted = targets >= 0

    def formula(z: Any) -> Any:
        chosen = np.take_along_axis(log_softmax(z), np.maximum(targets, 0)[..., None], axis=-1)[..., 0]
        return -(counted * chosen).sum(1) / counted.sum(1)

    def smoothed(z: Any) -> Any:
        return 0.9 * formula(z) - 0.1 * (counted * log_softmax(z).mean(-1)).sum(1) / counted.sum(1)

    loss = losses.TokenCrossEntropy()
    compare(check, loss, logits, targets, formula, torch)
    compare(check, losses.TokenCrossEntropy(label_smoothing=0.1), logits, targets, smoothed)
    # With the counted tokens as weights the mean is the one over all tokens.
    mean = jax.jit(lambda z, y, w: losses.reduce(loss(z, y), w))
    received = mean(jnp.asarray(logits, jnp.float32), jnp.asarray(targets), jnp.asarray(losses.counted_tokens(targets)))
    check(received, (formula(logits) * counted.sum(1)).sum() / counted.sum())


@case("loss.members")
def members(check: Check) -> None:
    """An ensemble's outputs, ``(batch, members, units)``: each example's loss is the mean over its members'."""
    outputs = draw(8, 3, 4)
    log_p = log_softmax(outputs)[np.arange(8)[:, None], np.arange(3), LABELS[:, None]]
    values = jax.jit(losses.CategoricalCrossEntropy(label_smoothing=0.0).__call__)(
        jnp.asarray(outputs, jnp.float32), jnp.asarray(LABELS)
    )
    check(values, -log_p.mean(1))
    targets = draw(8, seed=1)
    values = jax.jit(losses.MSE().__call__)(
        jnp.asarray(outputs[..., :1], jnp.float32), jnp.asarray(targets, jnp.float32)
    )
    check(values, ((outputs[..., 0] - targets[:, None]) ** 2).mean(1))


@case("loss.reduce")
def reduce(check: Check) -> None:
    values, weights = draw(9), np.abs(draw(9, seed=1))
    weights[::3] = 0
    spoiled = np.where(weights == 0, np.nan, values)  # padding rows may hold anything
    mean = jax.jit(losses.reduce)
    received = mean(jnp.asarray(spoiled, jnp.float32), jnp.asarray(weights, jnp.float32))
    check(received, np.average(values, weights=weights))
    check(mean(jnp.asarray(values, jnp.float32)), values.mean())
    check(mean(jnp.ones(3), jnp.zeros(3)), 0.0, oracle="closed form")


@case("loss.class_weights")
def class_weights(check: Check) -> None:
    counts = np.bincount(LABELS, minlength=4)
    received = losses.class_weights(LABELS, 4, mode="balanced")
    present = counts > 0
    check(received[present], len(LABELS) / (present.sum() * counts[present]))
    if module := check.module("sklearn.utils.class_weight"):
        theirs = module.compute_class_weight("balanced", classes=np.unique(LABELS), y=LABELS)
        check(received[present], theirs, oracle="sklearn")


def penalised(check: Check, penalty: Any, formula: Callable[[Any], Any]) -> None:
    kernel, bias = draw(4, 3), draw(3, seed=1)
    params = {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.asarray(bias, jnp.float32)}
    for over, counted in (("weights", ("kernel",)), ("all", ("kernel", "bias"))):
        value, gradient = jax.jit(jax.value_and_grad(partial(penalty, over=over)))(params)
        check(value, sum(formula({"kernel": kernel, "bias": bias}[name]) for name in counted))
        for name, array in (("kernel", kernel), ("bias", bias)):
            numeric = finite_difference(formula, array) if name in counted else np.zeros_like(array)
            check(gradient[name], numeric, oracle="finite differences", floor=0.01)


@case("penalty.l1")
def l1(check: Check) -> None:
    penalised(check, losses.l1, lambda w: np.abs(w).sum())


@case("penalty.l2")
def l2(check: Check) -> None:
    penalised(check, losses.l2, lambda w: (w**2).sum())


@case("loss.dice")
def dice(check: Check) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (4, 2, 3))
    one_hot = np.eye(3)[labels]

    def formula(z: Any) -> Any:
        p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
        overlap, total = (p * one_hot).sum((1, 2)), (p + one_hot).sum((1, 2))
        return 1 - ((2 * overlap + 1) / (total + 1)).mean(-1)

    compare(check, losses.Dice(), draw(4, 2, 3, 3), labels, formula)
