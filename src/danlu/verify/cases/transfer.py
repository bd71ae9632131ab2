"""What learns and what rests: parts with multipliers, low-rank adaptation, segments."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu import optim
from danlu.nn import Dense, LoRA, Segments
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw

__all__: list[str] = []

RATE, DECAY, LIMIT = 0.05, 0.2, 0.5
SCALES = {"embed": 0.0, "body": 0.1, "head": 1.0}


@case("optimizer.by_part")
def by_part(check: Check) -> None:
    """Momentum with decay as a penalty, after a clipping that the frozen part does not count in."""
    start = {name: draw(3, 2, seed=i) for i, name in enumerate(SCALES)}
    optimizer = optim.by_part(
        optim.chain(optim.weight_decay(DECAY), optim.clip_by_global_norm(LIMIT), optim.momentum(RATE)), SCALES
    )
    params = {name: jnp.asarray(a, jnp.float32) for name, a in start.items()}
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    theta, velocity = dict(start), {name: np.zeros((3, 2)) for name in start}
    for step in range(5):
        grads = {name: draw(3, 2, seed=10 * step + 5 + i) for i, name in enumerate(SCALES)}
        updates, state = update({name: jnp.asarray(g, jnp.float32) for name, g in grads.items()}, state, params)
        params = optim.apply_updates(params, updates)
        full = {name: grads[name] + DECAY * theta[name] for name in grads if SCALES[name]}
        norm = np.sqrt(sum((g * g).sum() for g in full.values()))
        for name, g in full.items():
            velocity[name] = 0.9 * velocity[name] + g * min(1.0, LIMIT / norm)
            theta[name] = theta[name] - SCALES[name] * RATE * velocity[name]
    for name in start:
        check(params[name], theta[name], floor=0.1)


@case("layer.LoRA")
def lora(check: Check) -> None:
    net = LoRA(Dense(4), rank=2, alpha=3.0, targets=("kernel",))
    w, b, down, up, x = draw(5, 4), draw(4, seed=1), draw(5, 2, seed=2), draw(2, 4, seed=3), draw(6, 5, seed=4)
    arrays = [jnp.asarray(a, jnp.float32) for a in (w, b, down, up, x)]
    params: Any = {"low_rank": {"kernel": {"a": arrays[2], "b": arrays[3]}}, "full": {}}
    state = {"params": {"kernel": arrays[0], "bias": arrays[1]}, "state": {}}
    expected = x @ w + b + (3.0 / 2) * (x @ down) @ up
    check(net.apply(params, state, arrays[4])[0], expected, floor=0.1)
    plain, _ = net.merge(params, state)
    check(net.layer.apply(plain, {}, arrays[4])[0], expected, floor=0.1)


@case("layer.Segments")
def segments(check: Check) -> None:
    table, x, of = draw(2, 4), draw(3, 5, 4, seed=1), np.arange(15).reshape(3, 5) % 2
    given = {"x": jnp.asarray(x, jnp.float32), "segments": jnp.asarray(of)}
    y, _ = Segments(2).apply({"table": jnp.asarray(table, jnp.float32)}, {}, given)
    check(y["x"], x + table[of], floor=0.1)
