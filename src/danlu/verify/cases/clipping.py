"""Gradient clipping: gradients above, below and at the limit, and zero ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu import optim
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw, to_torch

__all__: list[str] = []

GRADS = (draw(3, 4), 1e-3 * draw(5, seed=1), np.zeros(2))
LIMITS = (0.5, 1e3)


def compare(
    check: Check, make: Callable[[float], Any], formula: Callable[..., Any], optax: Callable[..., Any] | None
) -> None:
    grads = jax.tree.map(lambda g: jnp.asarray(g, jnp.float32), GRADS)
    for limit in LIMITS:
        clip = make(limit)
        ours = jax.jit(clip.update)(grads, clip.init(grads))[0]
        for got, want in zip(ours, formula(limit), strict=True):
            check(got, want)
        if optax is not None and (module := check.module("optax")):
            theirs = optax(module, limit)
            for got, want in zip(ours, jax.jit(theirs.update)(grads, theirs.init(grads))[0], strict=True):
                check(got, want, oracle="optax")


def torch_clipped(check: Check, make: Callable[[float], Any], clip: Callable[[Any, Any, float], Any]) -> None:
    """PyTorch's clipping in place, of one list of parameters."""
    if (torch := check.module("torch")) is None:
        return
    for limit in LIMITS:
        params = [to_torch(torch, g, grad=True) for g in GRADS]
        for param, grad in zip(params, GRADS, strict=True):
            param.grad = to_torch(torch, grad)
        clip(torch.nn.utils, params, limit)
        ours = make(limit)
        grads = jax.tree.map(lambda g: jnp.asarray(g, jnp.float32), GRADS)
        for got, param in zip(jax.jit(ours.update)(grads, ours.init(grads))[0], params, strict=True):
            check(got, param.grad.numpy(), oracle="torch")


@case("clipping.by_value")
def by_value(check: Check) -> None:
    compare(
        check,
        optim.clip_by_value,
        lambda limit: [np.maximum(-limit, np.minimum(limit, g)) for g in GRADS],
        lambda optax, limit: optax.clip(limit),
    )
    torch_clipped(check, optim.clip_by_value, lambda utils, params, limit: utils.clip_grad_value_(params, limit))


@case("clipping.by_norm")
def by_norm(check: Check) -> None:
    def formula(limit: float) -> list[Any]:
        norms = [np.linalg.norm(g) for g in GRADS]
        return [g * (limit / norm if norm > limit else 1) for g, norm in zip(GRADS, norms, strict=True)]

    # optax's own per-array clipping divides by the norm of a zero array; it is no oracle there.
    compare(check, optim.clip_by_norm, formula, None)


@case("clipping.by_global_norm")
def by_global_norm(check: Check) -> None:
    norm = np.sqrt(sum((g**2).sum() for g in GRADS))
    compare(
        check,
        optim.clip_by_global_norm,
        lambda limit: [g * min(1, limit / norm) for g in GRADS],
        lambda optax, limit: optax.clip_by_global_norm(limit),
    )
    # PyTorch divides by norm + 1e-6.
    torch_clipped(
        check,
        optim.clip_by_global_norm,
        lambda utils, params, limit: utils.clip_grad_norm_(params, limit),
    )
