"""Models that draw as files: from normal noise, and a label, to rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.export.functions import Function, Run, Trial
from danlu.export.primitives import Input
from danlu.trained import Trained

__all__ = ["drawing"]

_TRIED = 8


def drawing(trained: Trained) -> Function:
    """The function of a model that draws pictures: ``noise``, and ``label`` where it knows labels, to ``pixels`` in 0 … 1.

    Its sampler is inside, at its own settings: of a VAE the decoder, of a GAN the generator, of diffusion and flows all their steps.
    """
    network: Any = trained.network
    shape, classes = tuple(trained.in_shape), trained.head.classes or ()
    params, state = jax.tree.map(jnp.asarray, (trained.params, trained.state))
    inputs = [Input("noise", np.float32, network.noise_shape(shape))]
    inputs += [Input("label", np.int32, ())] if classes else []

    def call(x: dict[str, Any]) -> dict[str, Any]:
        labels = x.get("label", jnp.zeros(x["noise"].shape[:1], jnp.int32))
        return {"pixels": jnp.clip(network.made(params, state, x["noise"], None, labels, shape), 0, 1)}

    def tried(run: Run, sources: Sequence[str]) -> Iterator[Trial]:
        noise = np.random.default_rng(0).normal(size=(_TRIED, *network.noise_shape(shape))).astype(np.float32)
        given = {"noise": noise} | (
            {"label": np.arange(_TRIED, dtype=np.int32) % (len(classes) + 1)} if classes else {}
        )
        found, own = run(given)["pixels"], np.asarray(jax.jit(call)(given)["pixels"])
        yield Trial(_TRIED, float(np.max(np.abs(found - own))), f"tried on {_TRIED} pictures")

    said = ["noise is standard normal; pixels are 0 … 1"]
    said += (
        [f"label is the number of a label, in the order of the file's classes; {len(classes)} is none"]
        if classes
        else []
    )
    return Function(call, tuple(inputs), tried, about={"classes": list(classes)}, said=tuple(said))
