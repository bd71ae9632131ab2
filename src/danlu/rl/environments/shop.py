"""A shop: visitors come, are shown some of the items, and click or do not; what each would click is known to the world alone."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.rl.environment import Environment, Outcome
from danlu.rl.spaces import Box, Discrete, Slate, Space

__all__ = ["Shop", "ShopState"]

_STEEP = 4.0  # how much a logistic taste says


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ShopState:
    """Who is there, ``(features,)`` of length 1, and how many visitors there were, int32."""

    visitor: jax.Array
    visitors: jax.Array


class Shop(Environment):
    """Show ``slots`` of ``items`` to each visitor; the reward is how many were clicked.

    A visitor ``u`` is a direction, drawn anew for each step. The item at place ``j`` (from 1) is clicked with the probability
    ``j^(−decay)·α_i(u)``: the place is looked at, and the item is liked (the position-based model). ``α_i(u) = σ(4·θ_i·u + b_i)`` with
    directions ``θ`` and ``b ~ N(−1, ½)``; or, ``taste="linear"``, ``½ + 0.45·θ_i·u``, as algorithms for linear bandits assume. What
    the items are is drawn from ``shop``, so that it is the same in every episode: it is learnt once.

    With ``clicks="cascade"`` a visitor looks from the top down, clicks the first item that is liked and looks no further: place ``j`` is
    clicked with the probability ``α_j·Π_{i<j} (1 − α_i)``.

    Nothing that is shown changes who comes next: each step is a decision by itself, a contextual bandit, and an episode, which terminates
    after ``visitors`` of them, is only for counting.

    Args:
        max_steps: the steps after which an episode is truncated, at least ``visitors`` unless that is meant.
        items: how many there are to show.
        slots: how many are shown; the action is one item, or with several slots an order of different ones.
        features: numbers that are known of a visitor.
        visitors: of an episode.
        clicks: how a page is looked at: ``"positions"`` or ``"cascade"``.
        decay: how fast places are looked at less, of ``"positions"``; 0 looks at all.
        taste: ``"logistic"`` or ``"linear"``.
        shop: the number of the shop, which its items are drawn from.

    Observation: ``u``, ``(features,)`` float32.

    Reference: Craswell, Zoeter, Taylor & Ramsey (2008), "An experimental comparison of click position-bias models", WSDM: both models of
    clicks.

    Example:
        >>> world = Shop(items=4, slots=2)
        >>> _, seen = world.reset(jax.random.key(0))
        >>> best = world.best(seen)
        >>> bool(world.value(seen, best) >= world.value(seen, best[::-1])), world.action_space
        (True, Slate(n=4, k=2))
    """

    id: ClassVar[str | None] = "danlu/Shop-v0"

    max_steps: int = setting(default=1000, minimum=1, integer=True)
    items: int = setting(default=10, minimum=1, integer=True)
    slots: int = setting(default=1, minimum=1, integer=True)
    features: int = setting(default=5, minimum=1, integer=True)
    visitors: int = setting(default=50, minimum=1, integer=True)
    clicks: str = setting(default="positions", choices=("positions", "cascade"))
    decay: float = setting(default=1.0, minimum=0)
    taste: str = setting(default="logistic", choices=("logistic", "linear"))
    shop: int = setting(default=0, minimum=0, integer=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slots > self.items:
            raise ConfigError(f"Shop has {self.slots} slots for {self.items} items; expected as many items or more")
        if self.clicks == "cascade" and self.decay != 1.0:
            raise ConfigError(
                f"Shop.decay is {self.decay:g}, which a cascade does not have: it looks at all places down to the first click",
                hint="leave decay out, or take clicks='positions'",
            )

    @property
    def observation_space(self) -> Box:
        return Box(-1.0, 1.0, (self.features,))

    @property
    def action_space(self) -> Space:
        return Discrete(self.items) if self.slots == 1 else Slate(self.items, self.slots)

    def reset(self, key: jax.Array) -> tuple[ShopState, jax.Array]:
        visitor = self._visitor(key)
        return ShopState(visitor, jnp.int32(0)), visitor

    def step(self, state: ShopState, action: jax.Array, key: jax.Array) -> tuple[ShopState, Outcome]:
        click_key, next_key = jax.random.split(key)
        liked = self._liked(state.visitor, action)
        if self.clicks == "positions":
            liked = liked * self._looked(liked)
        clicks = jax.random.uniform(click_key, liked.shape) < liked
        if self.clicks == "cascade":
            clicks &= jnp.cumsum(clicks, axis=-1) == 1
        clicks = clicks.astype(jnp.float32)
        after = ShopState(self._visitor(next_key), state.visitors + 1)
        parts = None if self.slots == 1 else clicks
        return after, Outcome(after.visitor, clicks.sum(), after.visitors >= self.visitors, parts=parts)

    # What is true of it.

    def attraction(self, visitor: jax.Array) -> jax.Array:
        """How likely each item is liked once it is looked at: ``(…, features)`` to ``(…, items)``."""
        item_key, liked_key = jax.random.split(jax.random.key(self.shop))
        theta = _directions(jax.random.normal(item_key, (self.items, self.features)))
        along = visitor @ theta.T
        if self.taste == "linear":
            return 0.5 + 0.45 * along
        liked = 0.5 * jax.random.normal(liked_key, (self.items,)) - 1
        return jax.nn.sigmoid(_STEEP * along + jnp.broadcast_to(liked, along.shape))

    def _looked(self, like: jax.Array) -> jax.Array:
        """How likely each place is looked at, of the shape of ``like``, ``(…, slots)``."""
        return jnp.broadcast_to((jnp.arange(self.slots) + 1.0) ** -self.decay, like.shape)

    def _liked(self, visitor: jax.Array, action: jax.Array) -> jax.Array:
        """How likely what stands at each place is liked, ``(…, slots)``; an item that stands twice counts once."""
        shown = jnp.clip(jnp.asarray(action), 0, self.items - 1)
        shown = shown[..., None] if self.slots == 1 else shown
        liked = jnp.take_along_axis(self.attraction(visitor), shown, axis=-1)
        same = jnp.tril(shown[..., :, None] == shown[..., None, :], -1)  # (…, slots, slots)
        return liked * ~same.any(-1)

    def chances(self, visitor: jax.Array, action: jax.Array) -> jax.Array:
        """How likely each place of a slate (or the one item) is clicked, ``(…, slots)``."""
        liked = self._liked(visitor, action)
        if self.clicks == "positions":
            return liked * self._looked(liked)
        missed = jnp.cumprod(1 - liked, axis=-1)
        return liked * jnp.concatenate([jnp.ones_like(missed[..., :1]), missed[..., :-1]], axis=-1)

    def value(self, visitor: jax.Array, action: jax.Array) -> jax.Array:
        """The mean reward of what is shown, ``(…)``."""
        return self.chances(visitor, action).sum(-1)

    def best(self, visitor: jax.Array) -> jax.Array:
        """What to show: the items that are liked most, in that order; as an action."""
        order = jax.lax.top_k(self.attraction(visitor), self.slots)[1].astype(jnp.int32)
        return order[..., 0] if self.slots == 1 else order

    def regret(self, visitor: jax.Array, action: jax.Array) -> jax.Array:
        """What another action than the best one costs on average, ``(…)``."""
        return self.value(visitor, self.best(visitor)) - self.value(visitor, action)

    def _visitor(self, key: jax.Array) -> jax.Array:
        return _directions(jax.random.normal(key, (self.features,)))

    def frame(self, state: ShopState) -> np.ndarray:
        """How much the visitor likes each item (bars), the best of them in gold."""
        from danlu.rl.environments.drawing import BLUE, GOLD, MUTED, Canvas

        liked = np.asarray(self.attraction(state.visitor))
        side = max(min(30, 290 // self.items), 2)
        canvas = Canvas(side * self.items + 10, 130, left=-5, bottom=-5, scale=1)
        canvas.line([(-5, 0), (side * self.items + 5, 0)], MUTED, 1)
        chosen = set(np.argsort(-liked, kind="stable")[: self.slots].tolist())
        for item, value in enumerate(liked):
            ends = (side * (item + 0.2), 0.0), (side * (item + 0.8), 1 + 110 * float(value))
            canvas.box(*ends, GOLD if item in chosen else BLUE)
        return canvas.pixels()


def _directions(vectors: jax.Array) -> jax.Array:
    """Vectors of length 1."""
    return vectors / jnp.maximum(jnp.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
