"""Learning from pictures without labels, before a network learns from those with labels: two views of a picture, or hidden parts of it.

A network of pictures is ``input changes, body, last layers``. The body is trained first, by an objective that needs no labels, with small
layers of its own after it that are thrown away; the training on labels then begins with the body's weights and fresh last layers.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.engine import Fitted
from danlu.engine.initial import initial_weights
from danlu.engine.objective import Objective
from danlu.errors import ConfigError
from danlu.nn import Conv, Dense, GlobalAveragePool, Layer, Rescale, Sequential
from danlu.tasks.image import Augment
from danlu.tasks.recipe import Recipe, affordable

__all__ = ["Contrasted", "Hidden", "Pretraining", "body_of", "nt_xent", "pretrain", "pretrain_recipe", "with_body"]

_BUDGET = 2.0e13  # floating-point operations, backward passes included
_EPOCHS = (5, 60)
_BATCH = 256  # pictures, of two views each
_VIEWS = {"rotation": 20.0, "scale": 0.3, "shear": 15.0, "translate": 0.2, "erase": 0.3, "color": 0.4}
_MOVED = {"rotation": 10.0, "scale": 0.1, "shear": 5.0, "translate": 0.08}  # of pictures of which parts are hidden


class Pretraining(Blueprint):
    """The settings of learning from pictures without labels first.

    Args:
        source: a folder or an npz file of pictures, whose labels, if it has any, are not looked at; None pretrains nothing.
        objective: ``"contrast"``: two random views of a picture have vectors that are nearer than those of other pictures (SimCLR);
            ``"masked"``: what is hidden of a picture is drawn from the rest of it (SimMIM).
        epochs: passes over these pictures; None takes what a budget of arithmetic allows.
        batch_size: pictures a step, which ``"contrast"`` tells from each other.
        learning_rate: the peak.
        temperature: τ of ``"contrast"``.
        strength: of ``"contrast"``: how much the views are changed; 1 is usual, and flips are those of ``augment.flip``.
        dim: of the vectors that ``"contrast"`` compares.
        hidden: of ``"masked"``: the share of a picture's cells that is hidden.
        compare: whether the model is compared with the same network from scratch, and with a linear one of the pretrained features.
    """

    source: str | None = None
    objective: str = setting(default="contrast", choices=("contrast", "masked"))
    epochs: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    batch_size: int = setting(default=_BATCH, minimum=8, integer=True)
    learning_rate: float = setting(default=3e-3, above=0)
    temperature: float = setting(default=0.2, above=0)
    strength: float = setting(default=1.0, above=0, maximum=2)
    dim: int = setting(default=64, minimum=2, maximum=4096, integer=True)
    hidden: float = setting(default=0.6, above=0, below=1)
    compare: bool = True


def nt_xent(first: jax.Array, second: jax.Array, temperature: float, there: jax.Array | None = None) -> jax.Array:
    """The normalised and temperature-scaled cross-entropy, one value a picture: the mean of its two views' ``ℓ``.

    Of the 2N views of a batch, with ``s_ij`` the cosine of i and j, and p the other view of i's picture::

        ℓ_i = −log( exp(s_ip / τ) / Σ_{j ≠ i} exp(s_ij / τ) )

    Args:
        first, second: vectors of both views, ``(batch, d)``.
        temperature: τ.
        there: whether a row counts as another picture, ``(batch,)``; None is all.

    Reference: Chen et al., "A simple framework for contrastive learning of visual representations" (2020), equation 1.

    Example:
        >>> found = nt_xent(jnp.ones((4, 3)), jnp.ones((4, 3)), 0.5)
        >>> bool(jnp.allclose(found, jnp.log(7.0)))
        True
    """
    count = len(first)
    z = jnp.concatenate([first, second])  # (2 batch, d)
    z = z * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(z), axis=-1, keepdims=True), 1e-12))
    logits = z @ z.T / temperature
    itself = jnp.eye(2 * count, dtype=bool)
    own = jnp.roll(itself, count, axis=1)  # the place of the other view
    kept = ~itself if there is None else (jnp.tile(there, 2)[None] | own) & ~itself
    values = jax.nn.logsumexp(jnp.where(kept, logits, -jnp.inf), axis=1) - jnp.where(own, logits, 0).sum(axis=1)
    return 0.5 * (values[:count] + values[count:])


class Contrasted(Objective):
    """:func:`nt_xent` of two random views of each picture of a batch; rows of weight 0 are no other pictures.

    Args:
        network: random changes, the body, and the layers that give the vectors that are compared.
        temperature: τ.
    """

    network: Layer
    temperature: float

    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        both = jnp.concatenate([batch["x"], batch["x"]])
        z, state = self.network.apply(params, state, both, train=train, key=key)
        first, second = jnp.split(z, 2)
        return nt_xent(first, second, self.temperature, batch["weight"] > 0), state, {}


class Hidden(Objective):
    """The squared error of hidden cells of a picture, drawn from what is left of it, one value a picture.

    With cells of s×s pixels, of which a share is set to 0, each place of the body's last map gives
    the pixels of its cell by one linear layer::

        ℓ = Σ_{hidden cells} mean_{pixels} (ŷ − y)² / (hidden cells)

    Args:
        network: random changes, the body down to a map, and a layer that gives ``s·s·channels`` numbers at each place.
        share: of the cells that is hidden.
        side: s.

    Reference: Xie et al., "SimMIM: a simple framework for masked image modeling" (2022), section 3 (with the squared error).
    """

    network: Any
    share: float
    side: int

    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        changes, body, last = self.network.layers
        drawn, own = jax.random.split(key)
        picture, changed = changes.apply(params[0], state[0], batch["x"], train=train, key=drawn)
        rows, height, width, channels = picture.shape
        down, across, s = height // self.side, width // self.side, self.side
        hidden = jax.random.bernoulli(own, self.share, (rows, down, across))
        pixels = jnp.repeat(jnp.repeat(hidden, s, axis=1), s, axis=2)
        pixels = jnp.pad(pixels, ((0, 0), (0, height - down * s), (0, width - across * s)))
        seen, after = body.apply(params[1], state[1], jnp.where(pixels[..., None], 0.0, picture), train=train, key=own)
        guess, end = last.apply(params[2], state[2], seen, train=train, key=own)
        true = picture[:, : down * s, : across * s].reshape(rows, down, s, across, s, channels)
        true = true.transpose(0, 1, 3, 2, 4, 5).reshape(
            rows, down, across, s * s * channels
        )  # a cell's pixels together
        error = jnp.square(guess[:, :down, :across] - true).mean(axis=-1)  # (rows, down, across)
        values = jnp.where(hidden, error, 0).sum(axis=(1, 2)) / jnp.maximum(hidden.sum(axis=(1, 2)), 1)
        return values, (changed, after, end), {}


def body_of(model: Layer) -> tuple[int, Sequential]:
    """The number of a picture network's first layer that learns, and its body: from there to the mean over places.

    Raises:
        ConfigError: a network without one.
    """
    layers = getattr(model, "layers", ())
    first = next((place for place, layer in enumerate(layers) if isinstance(layer, Conv)), None)
    last = next((place for place, layer in enumerate(layers) if isinstance(layer, GlobalAveragePool)), None)
    if first is None or last is None:
        raise ConfigError(
            f"the network is a {type(model).__name__} without a body of convolutions and a mean over places"
        )
    return first, Sequential(tuple(layers[first : last + 1]))


def pretrain_recipe(
    settings: Pretraining, plan: Recipe, rows: int, in_shape: tuple[int, int, int], *, flip: bool, fill: float
) -> tuple[Recipe, Objective]:
    """How the body of ``plan``'s network is trained on ``rows`` pictures without labels: the recipe, and the objective.

    Args:
        settings: what the user asked for.
        in_shape: of a picture.
        flip: whether views may be mirrored.
        fill: the value outside a moved picture, −1 … 1.
    """
    body: Any = body_of(plan.model)[1]
    contrast = settings.objective == "contrast"
    changes = {name: settings.strength * value for name, value in _VIEWS.items()} if contrast else _MOVED
    views = Sequential((Rescale(), *Augment(flip=flip, **changes).layers(fill)))
    objective: Objective
    if contrast:
        (width,) = body.out_shape(in_shape)
        model = Sequential((views, body, Sequential((Dense(width, "relu"), Dense(settings.dim)))))
        objective = Contrasted(model, settings.temperature)
    else:
        body = Sequential(body.layers[:-1])
        side = in_shape[0] // body.out_shape(in_shape)[0]
        model = Sequential((views, body, Conv(side * side * in_shape[2], 1)))
        objective = Hidden(model, settings.hidden, side)
    batch_size = max(plan.devices, min(settings.batch_size, rows // 4) // plan.devices * plan.devices)
    fewest, most = _EPOCHS
    cost = affordable(_BUDGET / (2 if contrast else 1), body, in_shape, rows)
    recipe = plan.replace(
        model=model,
        batch_size=batch_size,
        epochs=settings.epochs or max(fewest, min(cost, most)),
        learning_rate=settings.learning_rate,
        warm_up=0.1,
        augment=None,
        folds=1,
        copies=1,
        snapshots=1,
        average="none",
        average_decay=None,
        average_start=None,
    )
    return recipe, objective


def pretrain(recipe: Recipe, objective: Objective, pictures: np.ndarray, *, seed: int, **how: Any) -> Fitted:
    """Train by :func:`pretrain_recipe` on encoded pictures ``(rows, height, width, channels)``; the body is layer 1 of the result.

    Args:
        **how: ``callbacks``, ``checkpoint``, ``resume`` and ``display``, for :func:`danlu.fit`.
    """
    rows = len(pictures)
    initial = initial_weights(recipe.model, pictures.shape[1:], jax.random.fold_in(jax.random.key(seed), 1))
    nothing = np.zeros(rows, np.int32)  # there are no targets
    return recipe.fit((pictures, nothing), rows=rows, seed=seed, loss=objective, initial=initial, **how)


def with_body(drawn: tuple[Any, Any], first: int, body: tuple[Any, Any]) -> tuple[Any, Any]:
    """A network's ``(params, state)`` with those of a pretrained body from its layer ``first`` on."""
    return tuple((*own[:first], *new, *own[first + len(new) :]) for own, new in zip(drawn, body, strict=True))  # type: ignore[return-value]
