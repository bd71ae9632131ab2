"""The head of a model that draws pictures."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from danlu.errors import ArtifactError, ConfigError, shorten, unknown_name
from danlu.evaluate.generated import RowScores
from danlu.generative.network import Generative, noise_like
from danlu.trained import Head

if TYPE_CHECKING:
    from danlu.trained import Trained

__all__ = ["Painting"]

_TOGETHER = 64  # pictures that are drawn at a time
_MOST = 1_000_000


class Painting(Head):
    """Draws pictures (:meth:`sample`), and says of a picture how well the model knows it.

    The answers are the values of each picture, a dict by name; see :class:`~danlu.generative.Generative`.

    Attributes:
        classes: the names of the labels, or None without labels.
    """

    kind, task = "painting", "generate"
    batch = 128
    verbs = ("sample", "between")

    classes: tuple[str, ...] | None = None

    def __call__(self, outputs: Any) -> Any:
        return outputs

    def frame(self, answers: Any, rows: Any = None) -> pl.DataFrame:
        return pl.DataFrame({name: np.asarray(values, np.float64) for name, values in answers.items()})

    def evidence(self, answers: Any, truth: Any) -> RowScores:
        return RowScores(np.stack(list(answers.values()), axis=1), tuple(answers), np.asarray(truth))

    def sample(
        self, trained: Trained, count: int, *, seed: int = 0, label: str | Sequence[str] | None = None, **how: Any
    ) -> np.ndarray:
        """New pictures, uint8 ``(count, height, width, channels)``.

        Args:
            count: how many.
            seed: the same seed draws the same pictures; the first of many are those of fewer.
            label: what they are to show, one for all or one for each; None shows each label in turn, where the model knows labels.
            **how: settings of the network's ``draw``, such as ``temperature=0.8`` or ``steps=50``.

        Raises:
            ConfigError: a count, a label or a setting that cannot be.
        """
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MOST:
            raise ConfigError(f"count is {shorten(count)}; expected a whole number from 1 to {_MOST:,}")
        network: Any = trained.network
        how = network.checked_how(how)
        labels, shape = self._codes(count, label), tuple(trained.in_shape)
        found, size = [], min(_TOGETHER, count)
        variables = jax.device_put((trained.params, trained.state))
        for low in range(0, count, size):
            own = np.resize(np.arange(low, min(low + size, count)), size)  # of one size: one compilation
            drawn = _drawn(network, *variables, seed, own, labels[own], shape, tuple(sorted(how.items())))
            found.append(np.asarray(drawn)[: min(size, count - low)])
        return np.concatenate(found)

    def between(
        self, trained: Trained, pairs: int, steps: int = 8, *, seed: int = 0, label: Any = None, **how: Any
    ) -> np.ndarray:
        """Pictures on the way from one drawn picture to another, uint8 ``(pairs, steps, height, width, channels)``.

        The noise goes from that of one to that of the other along the sphere on which noise lies.

        Args:
            pairs: how many.
            steps: pictures of each, the two included.
            seed, label, **how: see :meth:`sample`; the label of a pair is that of its first picture.

        Reference: White, "Sampling generative networks" (2016), section 2.1.
        """
        network: Any = trained.network
        how, shape = network.checked_how(how), tuple(trained.in_shape)
        labels = np.repeat(self._codes(pairs, label), steps)
        variables = jax.device_put((trained.params, trained.state))
        found = _between(network, *variables, seed, pairs, steps, labels, shape, tuple(sorted(how.items())))
        return np.asarray(found).reshape(pairs, steps, *shape)  # (pairs, steps, height, width, channels)

    def labels_of(self, count: int, label: str | Sequence[str] | None = None) -> list[str] | None:
        """The label of each of so many pictures, as :meth:`sample` draws them; None of a model without labels."""
        return None if self.classes is None else [self.classes[code] for code in self._codes(count, label)]

    def _codes(self, count: int, label: Any) -> np.ndarray:
        if self.classes is None:
            if label is not None:
                raise ConfigError(
                    f"label is {shorten(label)}, and the model was trained on pictures without labels; expected none",
                    hint="folders, one for each label, make a model that draws what it is told",
                )
            return np.zeros(count, np.int32)
        if label is None:
            return np.arange(count, dtype=np.int32) % len(self.classes)
        wanted = [label] * count if isinstance(label, str | int) else list(label)
        if len(wanted) != count:
            raise ConfigError(f"there are {len(wanted)} labels for {count} pictures; expected one, or one for each")
        for each in wanted:
            if str(each) not in self.classes:
                raise unknown_name("label", str(each), self.classes)
        return np.array([self.classes.index(str(each)) for each in wanted], np.int32)

    def tested(self, evidence: Any) -> str:
        return f"{len(evidence):,} test images"

    def check(self, network: Any, encoder: Any) -> None:
        if not isinstance(network, Generative) or network.classes != len(self.classes or ()):
            raise ArtifactError(
                f"the saved network is a {type(network).__name__}; expected one that draws {len(self.classes or ())} labels"
            )


@functools.partial(jax.jit, static_argnames=("network", "shape", "how"))
def _drawn(
    network: Generative, params: Any, state: Any, seed: Any, rows: Any, labels: Any, shape: Any, how: Any
) -> jax.Array:
    """Pictures of these numbers, uint8 ``(rows, *shape)``: each is drawn by a key of its own."""
    keys = jax.vmap(lambda row: jax.random.fold_in(jax.random.key(seed), row))(rows)
    pixels = network.draw(params, state, keys, labels, shape, **dict(how))
    return jnp.round(255 * jnp.clip(pixels, 0, 1)).astype(jnp.uint8)


@functools.partial(jax.jit, static_argnames=("network", "pairs", "steps", "shape", "how"))
def _between(
    network: Generative,
    params: Any,
    state: Any,
    seed: Any,
    pairs: int,
    steps: int,
    labels: Any,
    shape: Any,
    how: Any,
) -> jax.Array:
    keys = jax.random.split(jax.random.key(seed), 2 * pairs)
    first, second = (noise_like(part, network.noise_shape(shape)) for part in (keys[:pairs], keys[pairs:]))
    angle = jnp.linspace(0, jnp.pi / 2, steps)
    noise = jnp.tensordot(first, jnp.cos(angle), 0) + jnp.tensordot(second, jnp.sin(angle), 0)  # (pairs, *shape, steps)
    noise = jnp.moveaxis(noise, -1, 1).reshape(pairs * steps, *first.shape[1:])  # (pairs·steps, *noise shape)
    pixels = network.made(params, state, noise, jnp.repeat(keys[:pairs], steps), labels, shape, **dict(how))
    return jnp.round(255 * jnp.clip(pixels, 0, 1)).astype(jnp.uint8)
