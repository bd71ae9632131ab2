"""The formats without an encoder: weights by name, and the compiled network for JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

import danlu
from danlu.artifact.tree import flatten_tree, packed
from danlu.blueprint import to_json
from danlu.errors import ConfigError, first_line
from danlu.export.kinds import kind_of
from danlu.export.primitives import BATCH
from danlu.export.runtime import as_texts
from danlu.trained import Trained

__all__ = ["safetensors_of", "stablehlo_of"]


def safetensors_of(trained: Trained, license: str = "") -> bytes:
    """The weights by their paths, with blueprint, encoder and head as JSON among the metadata."""
    from safetensors.numpy import save

    trees = {"params": trained.params, "state": trained.state}
    arrays = {
        name: np.ascontiguousarray(packed(leaf))
        for part, tree in trees.items()
        for name, leaf in flatten_tree(tree, prefix=part).items()
    }
    plain: dict[str, Any] = {
        "danlu_version": danlu.__version__,
        "license": license,
        "blueprint": to_json(trained.network),
        "encoder": trained.encoder.state()[0],
        "head": trained.head.state()[0],
    }
    return save(arrays, metadata=as_texts(plain))


def stablehlo_of(trained: Trained) -> bytes:
    """``head ∘ forward`` for any number of encoded rows, as ``jax.export`` writes it.

    Raises:
        ConfigError: a head or a network that JAX cannot trace with any number of rows.
    """
    (rows,) = jax.export.symbolic_shape(BATCH)
    params, state = jax.tree.map(jnp.asarray, (trained.params, trained.state))
    given = _given(trained, rows)

    def answer(inputs: Any) -> Any:
        return trained.head(trained.network.apply(params, state, inputs, train=False)[0])

    try:
        return bytes(jax.export.export(jax.jit(answer))(given).serialize())
    except (jax.errors.JAXTypeError, AttributeError, ValueError, TypeError, NotImplementedError) as error:
        raise ConfigError(
            f"a model for {trained.purpose} cannot be written as StableHLO: {first_line(error, 120)}",
            hint="danlu export RUN --format safetensors writes its weights",
        ) from error


def _given(trained: Trained, rows: Any) -> Any:
    """The types and shapes of encoded rows, any number of them."""
    some = trained.encoder.transform(kind_of(trained.encoder).made(trained.encoder, np.random.default_rng(0)))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), leaf.dtype), some)
