"""The random keys of layers."""

from __future__ import annotations

import jax

from danlu.errors import ConfigError

__all__ = ["required_key"]


def required_key(owner: str, key: jax.Array | None) -> jax.Array:
    """``key``; ConfigError when a layer that draws random numbers in training was given none."""
    if key is None:
        raise ConfigError(f"{owner} received no key in training", hint="pass key=jax.random.key(...) to apply")
    return key
