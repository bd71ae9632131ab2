"""Generative adversarial networks: a critic learns to tell real rows from drawn ones, a generator to draw such that it cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.engine import Alternate, Objective
from danlu.engine.health import Finding
from danlu.errors import ConfigError
from danlu.generative.network import Generative, as_labels, as_values, one_hot
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["GAN", "LOSSES", "PENALTIES", "GanGame", "Turns"]

LOSSES = ("non-saturating", "hinge", "wasserstein")
PENALTIES = ("none", "r1", "wgan-gp")
_WON = 0.99, 0.05  # the share that a critic tells rightly, and its loss, by which it has won
_ALIKE = 0.2  # spread of drawn rows, as a share of that of real ones
_LAST = 0.25  # of the epochs that are looked at


class GAN(Generative):
    """A generator, from noise (beside a label as one of ``classes``) to a row in −1 … 1; a critic, from a row to ``1 + classes`` numbers.

    The critic's opinion of a row that is to show label y is its first number and the one of y added up (a projection of its last layer).
    A row is judged by minus that, the critic's doubt (``"critic"``), which says something beside the same critic's other rows only.

    Args:
        generator, critic: the networks.
        codes: numbers of the noise.
        classes: how many labels.

    Params and state: ``(generator's, critic's)``.

    Reference: Goodfellow et al., "Generative adversarial nets" (2014); Radford, Metz & Chintala (2016) for networks of pictures; Miyato &
    Koyama, "cGANs with projection discriminator" (2018), eq. 3.

    Example:
        >>> from danlu import nn
        >>> network = GAN(nn.MLP((8,), 2), nn.MLP((8,), 1), 3)
        >>> params, state, _ = network.init(jax.random.key(0), (2,))
        >>> network.draw(params, state, jax.random.split(jax.random.key(1), 5), jnp.zeros(5), (2,)).shape
        (5, 2)
    """

    generator: Layer
    critic: Layer
    codes: int = setting(minimum=1, integer=True)
    classes: int = setting(default=0, minimum=0, integer=True)

    @property
    def scores(self) -> tuple[str, ...]:
        return ("critic",)

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return ("generator", self.generator), ("critic", self.critic)

    def child_shapes(self, in_shape: Shape) -> tuple[Shape, ...]:
        return (self.codes + self.classes,), in_shape

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        drawn = [
            layer.init(jax.random.fold_in(key, number), of)
            for number, ((_, layer), of) in enumerate(zip(self.children(), self.child_shapes(in_shape), strict=True))
        ]
        for (name, _), (_, _, out), wanted in zip(self.children(), drawn, (in_shape, (1 + self.classes,)), strict=True):
            if out != wanted:
                raise ConfigError(f"the {name} of the GAN gives rows of shape {out}; expected {wanted}")
        return tuple(each[0] for each in drawn), tuple(each[1] for each in drawn), self.scored

    def flops(self, in_shape: Shape) -> int | None:
        own = [layer.flops(of) for (_, layer), of in zip(self.children(), self.child_shapes(in_shape), strict=True)]
        return None if None in own else sum(each or 0 for each in own)

    def noise_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.codes,)

    def generated(
        self, params: Params, state: State, noise: jax.Array, labels: jax.Array, *, train: bool = False
    ) -> tuple[jax.Array, State]:
        """Rows in −1 … 1 of noise ``(batch, codes)``, and the generator's state after; ``params`` and ``state`` are its own."""
        given = jnp.concatenate([noise, one_hot(labels, self.classes)], axis=-1) if self.classes else noise
        return self.generator.apply(params, state, given, train=train)

    def opinion(
        self, params: Params, state: State, x: jax.Array, labels: jax.Array, *, train: bool = False
    ) -> tuple[jax.Array, State]:
        """How real the critic takes rows in −1 … 1 ``(batch,)``, and its state after; ``params`` and ``state`` are its own."""
        y, after = self.critic.apply(params, state, x, train=train)
        return y[:, 0] + jnp.sum(y[:, 1:] * one_hot(labels, self.classes), axis=-1), after

    def terms(
        self, params: Params, state: State, x: jax.Array, labels: jax.Array, key: jax.Array, *, train: bool
    ) -> tuple[dict[str, jax.Array], State]:
        raise ConfigError("a GAN has no loss of one program; expected Turns, in which two take turns")

    def said(self, params: Params, state: State, x: jax.Array) -> dict[str, jax.Array]:
        labels = jnp.full(len(x), self.classes)
        return {"critic": -self.opinion(params[1], state[1], 2 * as_values(x) - 1, labels)[0]}

    def made(
        self,
        params: Params,
        state: State,
        noise: jax.Array,
        keys: jax.Array,
        labels: jax.Array,
        shape: tuple[int, ...],
    ) -> jax.Array:
        """What the generator makes of noise."""
        return (self.generated(params[0], state[0], noise, as_labels(labels, self.classes))[0] + 1) / 2


class GanGame(Objective):
    """One side of the game: the loss of the critic or of the generator, whose parameters are a dict of both.

    With D the critic's opinion and G the generator::

        non-saturating   critic  softplus(−D(x)) + softplus(D(G(z)))          generator  softplus(−D(G(z)))
        hinge                    max(0, 1 − D(x)) + max(0, 1 + D(G(z)))                  −D(G(z))
        wasserstein              D(G(z)) − D(x)                                          −D(G(z))

    The critic's second term ``"slope"`` is ``|∇D(x)|²`` at real rows (R₁), or ``(|∇D(x̂)| − 1)²`` between real and drawn ones (WGAN-GP).
    Beside them stand how often the critic is right (``"right"``), and how far drawn rows are spread as a share of real ones
    (``"variety"``).

    Args:
        network: the GAN.
        side: ``"critic"`` or ``"generator"``.
        loss, penalty: see above.
        unlabelled: the share of rows whose label is not told.

    Reference: Goodfellow et al. (2014), section 3; Lim & Ye (2017), eq. 5; Arjovsky et al., "Wasserstein GAN" (2017); Mescheder et al.,
    arXiv:1801.04406, eq. 9 (R₁); Gulrajani et al., arXiv:1704.00028, eq. 3.
    """

    network: GAN
    side: str = setting(choices=("critic", "generator"))
    loss: str = setting(default="non-saturating", choices=LOSSES)
    penalty: str = setting(default="r1", choices=PENALTIES)
    unlabelled: float = setting(default=0.1, minimum=0, below=1)

    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        net, keys = self.network, jax.random.split(key, 3)
        real = 2 * as_values(batch["x"]) - 1
        labels = as_labels(batch["y"], net.classes)
        if net.classes:
            labels = jnp.where(jax.random.bernoulli(keys[1], self.unlabelled, labels.shape), net.classes, labels)
        noise = jax.random.normal(keys[0], (len(real), net.codes))
        drawn, first = net.generated(params["generator"], state[0], noise, labels, train=train)
        if self.side == "generator":
            opinion, _ = net.opinion(params["critic"], state[1], drawn, labels, train=train)
            loss = jax.nn.softplus(-opinion) if self.loss == "non-saturating" else -opinion
            return loss, (first, state[1]), {"variety": variety(real, drawn)}
        drawn = jax.lax.stop_gradient(drawn)
        of_real, second = net.opinion(params["critic"], state[1], real, labels, train=train)
        of_drawn, _ = net.opinion(params["critic"], state[1], drawn, labels, train=train)
        told = {
            "non-saturating": lambda: jax.nn.softplus(-of_real) + jax.nn.softplus(of_drawn),
            "hinge": lambda: jax.nn.relu(1 - of_real) + jax.nn.relu(1 + of_drawn),
            "wasserstein": lambda: of_drawn - of_real,
        }[self.loss]()
        terms = {"told": told}
        if self.penalty != "none":
            at = real
            if self.penalty == "wgan-gp":
                part = jax.random.uniform(keys[2], (len(real),) + (1,) * (real.ndim - 1))
                at = part * real + (1 - part) * drawn
            terms["slope"] = self._slope(params["critic"], second, at, labels)
        right = 0.5 * ((of_real > 0).astype(jnp.float32) + (of_drawn < 0).astype(jnp.float32))
        return terms, (state[0], second), {"right": right}

    def _slope(self, params: Any, state: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
        """The penalty of each row ``(batch,)``."""
        slope = jax.grad(lambda x: jnp.sum(self.network.opinion(params, state, x, labels)[0]))(x)
        square = jnp.sum(jnp.square(slope).reshape(len(x), -1), axis=-1)  # (batch,)
        return square if self.penalty == "r1" else jnp.square(jnp.sqrt(square + 1e-12) - 1)

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that it gives beside its loss."""
        if self.side == "generator":
            return ("variety",)
        return ("told", *(("slope",) if self.penalty != "none" else ()), "right")


def variety(real: jax.Array, drawn: jax.Array) -> jax.Array:
    """How far each drawn row is from their middle, as a share of what real rows are from theirs: means of squares ``(batch,)``."""
    real, drawn = (rows.reshape(len(rows), -1) for rows in (real, drawn))  # (batch, numbers)
    wide = jnp.mean(jnp.sum(jnp.square(real - real.mean(axis=0, keepdims=True)), axis=-1))
    return jnp.sum(jnp.square(drawn - drawn.mean(axis=0, keepdims=True)), axis=-1) / jnp.maximum(wide, 1e-12)


@dataclasses.dataclass(frozen=True)
class Turns(Alternate):
    """The critic's step, then the generator's; the doctor knows what may go wrong between them."""

    def diagnose(self, history: Sequence[Mapping[str, Any]]) -> tuple[Finding, ...]:
        """What is wrong with a game, from its record: a critic that has won, or drawn rows that are all alike.

        Example:
            >>> from danlu.generative.gan import findings
            >>> [each.kind for each in findings([{"critic_right": 1.0, "critic_told": 0.01, "generator_variety": 0.05}] * 4)]
            ['won_game', 'mode_collapse']
        """
        return findings(history)


def findings(history: Sequence[Mapping[str, Any]]) -> tuple[Finding, ...]:
    """See :meth:`Turns.diagnose`."""
    rows = history[-max(1, round(_LAST * len(history))) :]
    if not rows:
        return ()

    def mean(name: str) -> float:
        return float(np.mean([row[name] for row in rows if name in row] or [np.nan]))

    found: list[Finding] = []
    right, told, spread = mean("critic_right"), mean("critic_told"), mean("generator_variety")
    if right > _WON[0] and told < _WON[1]:
        found.append(
            Finding(
                "won_game",
                "the critic has won the game, and tells the generator nothing that it could follow",
                f"it tells {right:.1%} of the rows rightly, with a loss of {told:.2g}",
                "a steadier critic: a penalty of its slope (r1), spectral norm, or a lower learning rate",
                settings={"generate.penalty": "r1", "generate.spectral": "true"},
            )
        )
    if spread < _ALIKE:
        found.append(
            Finding(
                "mode_collapse",
                "what the generator draws is nearly always the same (mode collapse)",
                f"drawn rows are spread {spread:.1%} as far as real ones",
                "a penalty of the critic's slope (r1), larger batches, or a lower learning rate",
                settings={"generate.penalty": "r1"},
            )
        )
    return tuple(found)
