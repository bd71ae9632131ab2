"""What a network computes of a row, as a function that can be differentiated; and the words around that."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import ConfigError
from danlu.explain import Attribution, integrated_gradients, smooth_gradients
from danlu.explained.asked import Asked
from danlu.nn.ensemble import Ensemble
from danlu.nn.layer import Layer
from danlu.nn.quantized.layer import is_whole
from danlu.nn.quantized.plain import unquantized
from danlu.trained import Trained
from danlu.trained.together import members_of

__all__ = ["Gradients", "attributed", "gradients_of", "of_inputs", "of_outputs"]

_MOST = 4096  # points of a path
_SAMPLES = 50
_LEAST = 1e-6  # of a probability whose odds are taken, in float32


@dataclasses.dataclass(frozen=True, eq=False)
class Gradients:
    """The part of a model whose gradients are taken.

    Attributes:
        model: that part, a model itself.
        said: which part it is, in words; empty where it is the whole model.
        share: its weight in the blend; 1 where there is none.
        given: what :func:`of_inputs` and :func:`of_outputs` take beside the inputs or outputs, without the classes.
    """

    model: Trained
    said: str
    share: float
    given: dict[str, Any]

    def told(self, scored: str, value: float, found: Attribution, how: str) -> dict[str, Any]:
        """What every answer that is explained by gradients says of its score, as fields of :class:`~danlu.explained.Explained`.

        Args:
            scored: what the score is called; ``value`` is its value.
            found, how: as :func:`attributed` gives them, of one row.
        """
        return {
            "scored": scored,
            "value": value,
            "base": value - float(found.gained[0]),
            "method": f"By {how}{f'; of {self.said}' if self.said else ''}.",
            "gap": float(found.gap[0]),
        }


def gradients_of(trained: Trained, *, single: bool = False) -> Gradients:
    """The network of a model.

    Args:
        single: whether it must be one network; of several side by side the first is then taken.

    Raises:
        ConfigError: a simple model answers in the network's place.
    """
    if trained.instead is not None:
        raise ConfigError("a simple model answers here, which has no gradients", hint="use method='shapley'")
    models = list(members_of(trained))
    own, said = models[0], "" if len(models) == 1 else f"the first of {len(models)} models"
    part = own.part("network")
    if part is not own and own.shares != {"network": 1.0}:
        said = f"the network alone, {own.shares['network']:.2f} of the blend" + (f", of {said}" if said else "")
    whole = is_whole(part.network)
    if single and isinstance(part.network, Ensemble):
        said = f"the first of {part.network.count} networks" + (f", of {said}" if said else "")
        network, params, state = part.one
        part = dataclasses.replace(part, network=network, params=params, state=state)
    if whole:
        said = "the network with real numbers in place of whole ones" + (f", of {said}" if said else "")
    network, params, state = unquantized(part.network, part.params, part.state)
    part = dataclasses.replace(part, network=network, params=params, state=state)
    head = dataclasses.replace(part.head, scores=None, said=(), asked=None)
    return Gradients(part, said, own.shares["network"], {"params": part.params, "state": part.state, "head": head})


@functools.cache
def of_outputs(scale: str) -> Callable[[Any, Any], jax.Array]:
    """From a network's outputs to the number that is explained; see :class:`~danlu.explained.score.Score` for the scales."""

    def score(outputs: Any, given: Any) -> jax.Array:
        answers = given["head"](outputs)
        if not scale:
            return jnp.asarray(answers)
        p = jnp.take_along_axis(answers, given["code"][:, None], axis=1)[:, 0]
        if scale == "probability":
            return p
        p = jnp.clip(p, _LEAST, 1 - _LEAST)
        return jnp.log(p) - jnp.log1p(-p)

    return score


@functools.lru_cache(maxsize=32)
def of_inputs(network: Layer, scale: str) -> Callable[[Any, Any], jax.Array]:
    """From a network's inputs to the number that is explained; the same function for the same network, so that it is compiled once."""

    def score(x: Any, given: Any) -> jax.Array:
        inputs = {"x": x, "mask": given["mask"]} if "mask" in given else x
        outputs, _ = network.apply(given["params"], given["state"], inputs)
        return of_outputs(scale)(outputs, given)

    return score


def attributed(
    score: Callable[..., jax.Array],
    x: Any,
    baseline: Any,
    given: Any,
    asked: Asked,
    *,
    noise: Any,
    power: int = 1,
    mean: bool = False,
) -> tuple[Attribution, str]:
    """What each input adds to the score, by the method that was asked for, and that method in words.

    Args:
        noise: of SmoothGrad, see :func:`~danlu.explain.smooth_gradients`.
        power, mean: see :func:`~danlu.explain.integrated_gradients`.
    """
    if asked.method != "smoothgrad":
        found = integrated_gradients(score, x, baseline, power=power, most=_MOST, given=given, mean=mean)
        return found, f"integrated gradients, {found.steps:,} points on the way"
    x = jax.tree.map(jnp.asarray, x)
    start = jax.tree.map(lambda leaf, b: jnp.broadcast_to(jnp.asarray(b, leaf.dtype), leaf.shape), x, baseline)
    slopes = smooth_gradients(score, x, noise=noise, samples=_SAMPLES, seed=asked.seed, given=given)
    values = jax.tree.map(lambda slope, a, b: slope * np.asarray(a - b), slopes, x, start)
    first, last = (np.asarray(score(at, given), np.float64) for at in (start, x))
    total: Any = sum(
        np.asarray(leaf, np.float64).reshape(len(first), -1).sum(axis=1) for leaf in jax.tree.leaves(values)
    )
    said = f"SmoothGrad: the gradient near the row, averaged over {_SAMPLES} pairs of small changes, times its distance from the base"
    whole = Attribution(values, last - first, total - (last - first), 0)
    return whole.mean() if mean else whole, said
