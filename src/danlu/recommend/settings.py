"""The settings of a recommender, and the recipe that follows from them and from the size of the data."""

from __future__ import annotations

import math
from typing import Any

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError
from danlu.nn.layer import Layer
from danlu.recommend.encoder import RecommendEncoder
from danlu.recommend.interactions import SPLITS
from danlu.recommend.networks import CodeTower, FeatureTower, ImplicitTower, Matcher, SequenceTower
from danlu.recommend.objectives import Ranked, Rated
from danlu.tasks import Recipe

__all__ = ["LOSSES", "MODELS", "Recommend", "objective_of", "recommend_recipe"]

MODELS = ("auto", "factors", "svd++", "neural", "towers", "sequence")
LOSSES = ("auto", "squared", "softmax", "bpr")
_BATCHES = 40  # of an epoch of ratings
_SCORES = 2**25  # that a batch of users and all items make at most
_WHOLE = 20_000  # items up to which the softmax is over all of them


class Recommend(Blueprint):
    """What is recommended to whom, and by which network; naming ``columns`` makes ``danlu train`` learn to recommend.

    Args:
        columns: ``user:item[:rating[:time]]``, the names of the columns.
        model: ``"factors"`` (matrix factorisation with biases), ``"svd++"``, ``"neural"`` (neural collaborative filtering), ``"towers"``
            (two networks that read what is known about users and items) or ``"sequence"`` (a causal Transformer over what a user had).
            ``"auto"`` is factors for ratings, towers where there are features, and of rankings a sequence where times are known.
        loss: ``"squared"`` foretells ratings; ``"softmax"`` and ``"bpr"`` rank items, and take each pair as one, whatever its rating.
            ``"auto"`` is squared where ratings are named.
        split: ``"last"`` (each user's last pair is tested), ``"time"`` (what comes after a moment) or ``"random"``; ``"auto"`` is random
            for ratings, else last.
        users, items: files of what is known about users and items, a row each, with the user's or the item's column.
        user_features, item_features: further columns of the data that say something about the user or the item.
        dim: size of a vector; None is 64.
        history: how many of a user's last items a sequence reads.
        layers: of a sequence.
        penalty: of the vectors' squares; None is 0.13 for ratings, 0 for rankings.
        negatives: items that are drawn to compare with: of ``"bpr"`` for each pair (None: 4), of ``"softmax"`` for a batch (None: all items
            where there are up to 20,000, else 1,024).
        refit: whether, once the validation part has chosen the epoch, training is done again with it.
    """

    columns: str = ""
    model: str = setting(default="auto", choices=MODELS)
    loss: str = setting(default="auto", choices=LOSSES)
    split: str = setting(default="auto", choices=SPLITS)
    users: str | None = None
    items: str | None = None
    user_features: tuple[str, ...] = ()
    item_features: tuple[str, ...] = ()
    dim: int | None = setting(default=None, minimum=1, maximum=4096, integer=True, optional=True)
    history: int = setting(default=50, minimum=2, maximum=2048, integer=True)
    layers: int = setting(default=2, minimum=1, maximum=48, integer=True)
    penalty: float | None = setting(default=None, minimum=0, optional=True)
    negatives: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    refit: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("user_features", "item_features"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))

    @property
    def featured(self) -> bool:
        """Whether something is known about users or items."""
        return bool(self.users or self.items or self.user_features or self.item_features)

    def settled(self, *, rated: bool, timed: bool) -> Recommend:
        """The same with nothing left open.

        Args:
            rated, timed: whether there are ratings and times.

        Raises:
            ConfigError: settings that do not go together.
        """
        loss = self.loss if self.loss != "auto" else ("squared" if rated else "softmax")
        if loss == "squared" and not rated:
            raise ConfigError(
                "recommend.loss is 'squared', and no column of ratings is named", hint="--recommend user:item:rating"
            )
        model = self.model
        if model == "auto":
            if self.featured:
                model = "towers"
            else:
                model = "sequence" if loss != "squared" and timed else "factors"
        if model == "sequence" and loss == "squared":
            raise ConfigError(
                "recommend.model is 'sequence', which ranks what comes next and does not foretell ratings",
                hint="recommend.loss=softmax takes each rating as a pair that was",
            )
        if model == "sequence" and not timed:
            raise ConfigError(
                "recommend.model is 'sequence', and no column of times is named", hint="--recommend user:item::time"
            )
        if model == "towers" and not self.featured:
            raise ConfigError(
                "recommend.model is 'towers', and nothing is known about users or items",
                hint="name recommend.users=FILE, recommend.items=FILE, recommend.user_features or item_features",
            )
        if self.featured and model not in ("towers", "sequence"):
            raise ConfigError(
                f"recommend.model is {model!r}, which reads no features of users and items",
                hint="recommend.model=towers does",
            )
        if model == "sequence" and (self.users or self.user_features):
            raise ConfigError(
                "recommend.model is 'sequence', in which a user is what it had: features of users would not be used",
                hint="leave them out, or recommend.model=towers",
            )
        if model == "svd++" and loss != "squared":
            raise ConfigError(
                "recommend.model is 'svd++', which is for ratings", hint="recommend.model=factors or sequence ranks"
            )
        usual = Recommend()
        for name in ("history", "layers"):
            if model != "sequence" and getattr(self, name) != getattr(usual, name):
                raise ConfigError(
                    f"recommend.{name} is {getattr(self, name)}, and the model is {model!r}; it is for recommend.model=sequence",
                    hint="leave it out",
                )
        if loss == "squared" and self.negatives is not None:
            raise ConfigError("recommend.negatives is for rankings; ratings are compared with no other items")
        return self.replace(
            model=model,
            loss=loss,
            dim=self.dim or 64,
            penalty=self.penalty if self.penalty is not None else (0.13 if loss == "squared" else 0.0),
        )


def network_of(settings: Recommend, encoder: RecommendEncoder, pairs: int) -> Matcher:
    """The network of settled settings, for an encoder whose users had so many pairs."""
    users, items, dim = len(encoder.users) + 1, len(encoder.items) + 1, settings.dim or 64
    user: Layer = CodeTower(users, dim)
    item: Layer = CodeTower(items, dim)
    if settings.model == "svd++":
        user = ImplicitTower(users, dim, items, pairs)
    if encoder.user_features is not None:
        user = FeatureTower(users, dim, encoder.user_features.shape[1])
    if encoder.item_features is not None:
        item = FeatureTower(items, dim, encoder.item_features.shape[1])
    if settings.model == "sequence":
        user = SequenceTower(dim, settings.history, settings.layers)
    return Matcher(user, item, (2 * dim, dim) if settings.model == "neural" else ())


def objective_of(settings: Recommend, network: Matcher, items: int) -> Rated | Ranked:
    """What is made small; ``items`` are those that there are."""
    penalty = settings.penalty or 0.0
    if settings.loss == "squared":
        return Rated(network, penalty, penalty / 10)
    every = settings.loss == "softmax" and settings.negatives is None and items <= _WHOLE
    drawn = 0 if every else settings.negatives or (4 if settings.loss == "bpr" else 1024)
    return Ranked(network, items + 1, settings.loss, drawn, penalty)


def recommend_recipe(settings: Recommend, encoder: RecommendEncoder, rows: int, pairs: int, **changes: Any) -> Recipe:
    """The default recipe.

    Args:
        settings: settled ones.
        rows: of an epoch: pairs, or of a sequence the pieces of histories.
        pairs: that users had.
        **changes: fields of the :class:`~danlu.tasks.Recipe` to set instead.
    """
    rated = settings.loss == "squared"
    if rated:
        batch, epochs, rate = max(32, math.ceil(rows / _BATCHES)), 20, 0.01
    elif settings.model == "sequence":
        batch, epochs, rate = 64, 25, 2e-3
    else:
        batch, epochs, rate = 512, 30, 5e-3
    batch = max(1, min(batch, rows, _SCORES // max(len(encoder.items), 1) if not rated else 2**20))
    fields: dict[str, Any] = {
        "model": network_of(settings, encoder, pairs),
        "loss": "mse" if rated else settings.loss,
        "batch_size": batch,
        "epochs": epochs,
        "patience": 10,
        "learning_rate": rate,
        "weight_decay": 0.0,
        "beta2": 0.999 if rated else 0.99,
    }
    return Recipe.changed("recommend_recipe", fields, changes)
