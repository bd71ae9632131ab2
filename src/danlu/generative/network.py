"""What networks that draw have in common: a loss of rows, a score of rows, and rows that are drawn."""

from __future__ import annotations

import abc
import inspect
import math
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.engine import Objective
from danlu.errors import ConfigError, shorten, unknown_name
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["Generating", "Generative", "as_labels", "as_values", "noise_like", "one_hot"]


class Generative(Layer, abc.ABC):
    """A network that learns how rows (pictures, …) are distributed, and draws new ones.

    Called as a layer it says of each row how well it knows it: a dict of values ``(batch,)``, lower is better. What is random of that is
    the same for every row, so that a row's value does not depend on the rows beside it.

    Attributes:
        classes: how many labels rows have; 0 for rows without. Label ``classes`` stands for none.
        scores: the names of the values that it says of rows, as :mod:`danlu.evaluate.generated` measures them.
    """

    @property
    @abc.abstractmethod
    def classes(self) -> int:
        """See the class."""

    @property
    @abc.abstractmethod
    def scores(self) -> tuple[str, ...]:
        """See the class."""

    @abc.abstractmethod
    def terms(
        self, params: Params, state: State, x: jax.Array, labels: jax.Array, key: jax.Array, *, train: bool
    ) -> tuple[dict[str, jax.Array], State]:
        """What training makes small: a value of each term for each row ``(batch,)``, and the state after."""

    def noise_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the normal noise that a row of ``shape`` is made of."""
        return shape

    @abc.abstractmethod
    def made(self, *args: Any, **how: Any) -> jax.Array:
        """The rows ``(count, *shape)``, pixels in 0 … 1, that noise becomes.

        Args (params, state, noise, keys, labels, shape, then its own by name):
            noise: standard normal, ``(count, *noise_shape)``.
            keys: one for each row ``(count,)``, for what is drawn on the way: a row depends on its own noise and key alone.
            labels: of each ``(count,)``.
            shape: of a row.
            how: see the network.
        """

    def draw(
        self, params: Params, state: State, keys: jax.Array, labels: jax.Array, shape: tuple[int, ...], **how: Any
    ) -> jax.Array:
        """New rows ``(count, *shape)``, pixels in 0 … 1: each by its own key; see :meth:`made`."""
        return self.made(params, state, noise_like(keys, self.noise_shape(shape)), keys, labels, shape, **how)

    @abc.abstractmethod
    def said(self, params: Params, state: State, x: jax.Array) -> dict[str, jax.Array]:
        """The values of each row, by the names of :attr:`scores`."""

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[dict[str, jax.Array], State]:
        return self.said(params, state, x), state

    def checked_how(self, how: dict[str, Any]) -> dict[str, Any]:
        """The settings of :meth:`made` that are its own, which are numbers, texts or true and false.

        Raises:
            ConfigError: there is no such setting, a value of another type or below 0, or one that would change nothing.
        """
        known = [each for each in inspect.signature(self.made).parameters.values() if each.kind == each.KEYWORD_ONLY]
        usual = {each.name: each.default for each in known}
        found = {}
        for name, value in how.items():
            if name not in usual:
                if not usual:
                    raise ConfigError(f"sample received {name}={shorten(value)}, and this model has no such settings")
                raise unknown_name("setting of sample", name, usual)
            wanted = type(usual[name])
            fits = isinstance(value, int | float) if wanted is float else isinstance(value, wanted)
            if not fits or (isinstance(value, bool) and wanted is not bool):
                of = {float: "a number", int: "a whole number", str: "a name", bool: "true or false"}[wanted]
                raise ConfigError(f"{name} is {shorten(value)}; expected {of}")
            if wanted is float and not 0 <= value < math.inf:
                raise ConfigError(f"{name} is {shorten(value)}; expected a number of 0 or more")
            if name == "guidance" and value != usual[name] and not self.classes:
                raise ConfigError(
                    f"guidance is {shorten(value)}, and the model was trained on pictures without labels; expected none",
                    hint="it is how far beyond what a label says rows go",
                )
            found[name] = wanted(value)
        return found

    @property
    def scored(self) -> Shape:
        """The shape of :meth:`said` for one row."""
        return dict.fromkeys(self.scores, ())


class Generating(Objective):
    """The loss of a network that draws.

    Args:
        network: the network.
        unlabelled: the share of the rows whose label is not told in training, so that the network also learns rows without one.
    """

    network: Generative
    unlabelled: float = setting(default=0.1, minimum=0, below=1)

    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[dict[str, jax.Array], Any, dict[str, jax.Array]]:
        own, hidden = jax.random.split(key)
        labels = as_labels(batch["y"], self.network.classes)
        if train and self.network.classes:
            untold = jax.random.bernoulli(hidden, self.unlabelled, labels.shape)
            labels = jnp.where(untold, self.network.classes, labels)
        values, state = self.network.terms(params, state, batch["x"], labels, own, train=train)
        return values, state, {}


def as_values(x: jax.Array) -> jax.Array:
    """Pixels 0 … 255 as 0 … 1; other numbers as they are."""
    return x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x


def as_labels(y: Any, classes: int) -> jax.Array:
    """Labels as whole numbers ``(batch,)``; those of no class are ``classes``."""
    y = jnp.asarray(y).astype(jnp.int32)
    return jnp.where((y >= 0) & (y < classes), y, classes)


def one_hot(labels: jax.Array, classes: int) -> jax.Array:
    """``(batch, classes)``, √classes at the label's place, so that the mean square is that of normal noise beside it; of no label all 0.

    >>> one_hot(jnp.array([1, 4]), 4).tolist()
    [[0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    return math.sqrt(classes) * jax.nn.one_hot(labels, classes)


def noise_like(keys: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Standard normal noise ``(count, *shape)``, each row by its own key."""
    return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
