"""Learning from pairs, such as pictures with their captions: the contrast, the recipe, and the head that compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from danlu.blueprint import Blueprint, setting
from danlu.data.composite import Composite
from danlu.engine.objective import Objective
from danlu.errors import ArtifactError
from danlu.evaluate.retrieval import Retrieved, ranks_of
from danlu.nn import Layer
from danlu.nn.two_towers import TwoTowers
from danlu.tasks.fusion import tower_of
from danlu.tasks.image import Augment
from danlu.tasks.recipe import Recipe, affordable, epochs_of
from danlu.tasks.trunks import Trunk, rates_of
from danlu.trained import Head
from danlu.trained.head import out_shape_of

if TYPE_CHECKING:
    from danlu.trained import Trained

__all__ = ["Contrast", "Pairing", "Pairs", "contrast", "pair_recipe"]

_BUDGET = 2.0e13
_EPOCHS = (10, 80)
_STEPS = 800
_BATCH = 256  # pairs that are told from each other


class Pairing(Blueprint):
    """The settings of learning from pairs.

    Args:
        columns: the two columns, as ``picture:caption``; None is another kind of training.
        features: of the vectors that are compared.
    """

    columns: str | None = None
    features: int = setting(default=64, minimum=2, maximum=4096, integer=True)


def contrast(logits: jax.Array, others: jax.Array) -> jax.Array:
    """Symmetric InfoNCE, one value a pair: ``ℓ_i = −½·(log softmax_j(z_ij)_i + log softmax_j(z_ji)_i)``.

    Args:
        logits: ``z_ij``, the scaled cosine of first i and second j, ``(batch, batch)``.
        others: whether pair j is another one than i, ``(batch, batch)``; only these (and i itself) are in the sums.

    Reference: van den Oord, Li & Vinyals (2018), eq. 4; Radford et al. (2021), figure 3.

    Example:
        >>> value = contrast(jnp.zeros((4, 4)), ~jnp.eye(4, dtype=bool))
        >>> bool(jnp.allclose(value, jnp.log(4.0)))
        True
    """
    kept = others | jnp.eye(len(logits), dtype=bool)
    own = jnp.diagonal(logits)
    forth = jax.nn.logsumexp(jnp.where(kept, logits, -jnp.inf), axis=1)
    back = jax.nn.logsumexp(jnp.where(kept, logits.T, -jnp.inf), axis=1)
    return 0.5 * (forth + back) - own


class Contrast(Objective):
    """:func:`contrast` of the pairs of a batch.

    Pairs that share a part (two captions of one picture) are not told from each other, and rows of weight 0 are no others.

    Args:
        network: the two towers.
    """

    directions: ClassVar[Mapping[str, str]] = {"recall": "max"}

    network: Layer

    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        outputs, state = self.network.apply(params, state, batch["x"], train=train, key=key)
        logits = outputs["first"] @ outputs["second"].T  # (batch, batch)
        shared = (batch["y"][:, None] == batch["y"][None]).any(axis=-1)  # (batch, batch)
        others = ~shared & (batch["weight"] > 0)[None]
        found = jnp.where(others, logits, -jnp.inf).max(axis=1) < jnp.diagonal(logits)
        return contrast(logits, others), state, {"recall": found.astype(jnp.float32)}


def pair_recipe(
    rows: int,
    encoder: Composite,
    *,
    pairing: Pairing | None = None,
    augment: Augment | None = None,
    fills: Mapping[str, float] | None = None,
    trunks: Mapping[str, Trunk] | None = None,
    **changes: Any,
) -> Recipe:
    """The default recipe for ``rows`` training pairs; arguments as of :func:`~danlu.tasks.fusion.fusion_recipe`."""
    features = (pairing or Pairing()).features
    towers = [
        tower_of(
            part,
            features,
            augment=augment,
            fill=(fills or {}).get(name, -1.0),
            last="identity",
            trunk=(trunks or {}).get(name),
        )
        for name, part in encoder.parts
    ]
    names = [name for name, _ in encoder.parts]
    model = TwoTowers((names[0], names[1]), (towers[0], towers[1]), features)
    batch_size = min(_BATCH, max(16, rows // 8))
    fewest, most = _EPOCHS
    fields: dict[str, Any] = {
        "model": model,
        "loss": "contrast",
        "batch_size": batch_size,
        "epochs": max(
            fewest, min(affordable(_BUDGET, model, encoder.in_shape, rows), epochs_of(_STEPS, rows, batch_size), most)
        ),
        "learning_rate": 3e-3,
        "weight_decay": 0.05,
        "warm_up": 0.1,
        "rates": rates_of(model, trunks or {}),
    }
    return Recipe.changed("pair_recipe", fields, changes)


class Pairs(Head, eq=False):
    """Vectors of both kinds in one space, and what is made of them: how well two belong together, and what belongs to one.

    Attributes:
        names: of the two columns.
    """

    kind = "pairs"
    task = "retrieval"
    verbs = ("similar",)
    instead: ClassVar[str | None] = (
        "danlu similar RUN FILE --among FILE gives the nearest, with the probability of each"
    )

    names: tuple[str, ...]

    def __call__(self, outputs: Any) -> Any:
        return outputs

    def evidence(self, answers: Mapping[str, np.ndarray], truth: np.ndarray) -> Retrieved:
        """The ranks of the pairs; ``truth`` holds the number of each part, ``(rows, 2)``."""
        first, second = truth[:, 0], truth[:, 1]
        counts = len(np.unique(second)), len(np.unique(first))
        forth = ranks_of(answers["first"], answers["second"], first, second)
        back = ranks_of(answers["second"], answers["first"], second, first)
        return Retrieved(forth, back, counts, None if min(counts) == len(truth) else first)

    def marks(self, truth: np.ndarray) -> np.ndarray:
        """Nothing: the numbers of the parts are of one source, and would be others in another."""
        return np.zeros(len(truth), np.int32)

    def frame(self, answers: Mapping[str, np.ndarray], rows: Any = None) -> pl.DataFrame:
        """The cosine of each pair; null where a part is absent."""
        first, second = answers["first"], answers["second"]
        cosine = (first * second).sum(axis=1) / np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
        found = pl.Series("similarity", cosine)
        if isinstance(rows, pl.DataFrame):
            there = pl.Series(np.logical_and.reduce([rows[name].is_not_null().to_numpy() for name in self.names]))
            found = found.set(~there, None)
        return pl.DataFrame([found])

    def replies(self, answers: Mapping[str, np.ndarray], rows: Any = None) -> list[dict[str, Any]]:
        """The cosine of the two; of a record with one of them, its vector of length 1."""
        said: list[dict[str, Any]] = self.frame(answers, rows).to_dicts()
        for side, name in zip(("first", "second"), self.names, strict=True):
            each = answers[side] / np.sqrt((answers[side] ** 2).sum(axis=1, keepdims=True))
            for reply, vector, there in zip(said, each, rows[name].is_not_null().to_list(), strict=True):
                if there and reply["similarity"] is None:
                    reply[f"vector {name}"] = vector.tolist()
        return said

    def similar(self, trained: Trained, source: Any, among: Any, *, most: int = 5, **how: Any) -> pl.DataFrame:
        """The nearest of ``among`` to each of ``source``, with the cosine and the probability among all of them.

        Args:
            source, among: what :meth:`sided` takes. Pictures among sentences are classified by these; sentences among pictures find them.
            most: how many of each.
        """
        one, asked, names = self.sided(trained, source, 0)
        _, known, known_names = self.sided(trained, among, 1)
        logits = asked @ known.T  # (asked, known)
        lengths = np.sqrt((asked**2).sum(axis=1)[:, None] * (known**2).sum(axis=1)[None])
        chances = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        near = np.argsort(-logits, axis=1, kind="stable")[:, :most]
        return pl.DataFrame(
            {
                one: np.repeat(names, near.shape[1]).tolist(),
                "place": np.tile(np.arange(1, near.shape[1] + 1), len(asked)),
                "similar": np.asarray(known_names, object)[near.ravel()].tolist(),
                "similarity": np.take_along_axis(logits / lengths, near, axis=1).ravel().round(4),
                "probability": np.take_along_axis(chances, near, axis=1).ravel().round(4),
            }
        )

    def sided(self, trained: Trained, source: Any, side: int) -> tuple[str, np.ndarray, Sequence[str]]:
        """The column that things are of, their vectors, and what they are called.

        Args:
            source: a folder of pictures or one, a file of lines or of a table, or sentences in a list.
            side: the column that is meant where both could be.
        """
        name, cells, names = trained.reader.side(trained, source, side)  # type: ignore[union-attr]
        blank = pl.Series([None] * len(cells), dtype=pl.String)
        frame = pl.DataFrame(
            [pl.Series(each, cells, pl.String) if each == name else blank.alias(each) for each in self.names]
        )
        answers = self.answer_rows(trained, frame)
        return name, answers["first" if name == self.names[0] else "second"], names

    def check(self, network: Any, encoder: Any) -> None:
        shape = out_shape_of(network, encoder)
        if not isinstance(shape, Mapping) or set(shape) != {"first", "second"} or len(self.names) != 2:
            raise ArtifactError(f"the saved network gives {shape!r}; expected a vector of each of two things")
        if tuple(name for name, _ in encoder.parts) != tuple(self.names):
            raise ArtifactError(f"the saved model is of the columns {self.names}; its encoder has others")
