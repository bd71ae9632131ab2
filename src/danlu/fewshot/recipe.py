"""How a model for few examples is trained: its settings, its network and its recipe."""

from __future__ import annotations

import math
from typing import Any

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError
from danlu.fewshot.episodes import Changed, Episode
from danlu.fewshot.head import METHODS, Shots
from danlu.fewshot.metric import ArcFace, Contrastive, MetricLoss, SupCon, Triplet
from danlu.fewshot.objective import Episodic, Reptile, with_last
from danlu.nn import Activation, BatchNorm, Conv, Flatten, GroupNorm, Layer, MaxPool, Rescale, Sequential
from danlu.tasks import Augment, Recipe
from danlu.tasks.recipe import affordable

__all__ = ["FewShots", "loss_of", "objective_of", "shot_network", "shot_recipe"]

_BUDGET = 2.0e13  # floating-point operations of a training, backward passes included
_ADAPTING = ("maml", "fomaml", "reptile")
_EPOCHS = (10, 60)
_ROWS = 100  # of a batch, at least


class FewShots(Blueprint):
    """The settings of learning from few examples.

    Args:
        k: examples of each class that a new class is told by (``--shots``); None is another kind of training.
        method: ``prototypes``, ``matching``: compare vectors within episodes; ``maml``, ``fomaml``, ``reptile``: a start from which a few
            steps of gradient descent learn a new class; ``triplet``, ``contrastive``, ``supcon``, ``arcface``: like vectors near each other
            (metric learning); ``probe``: a classifier of the training's classes, and a linear one of its vectors for new ones.
        ways: classes of an episode; None: 20, or as many as there are to learn from. Other parts may have fewer.
        queries: examples of each class of an episode that are answered; None: 4, or as many as there are.
        within: whether the classes of an episode are of one group, the folder above; None: where there is one.
        divide: whether whole groups are divided into training, validation and test, or classes; ``auto``: groups, of 3 or more.
        turns: whether a class turned by quarters is another class, as for written characters (square pictures).
        dim: of the vectors; None: what the network's last map has.
        steps: of gradient descent on a support, of maml, fomaml and reptile (and 20 times as many of the probe).
        rate: of it.
        margin: of triplet, contrastive and arcface; None is that of the method.
        scale: of cosines; None is that of the method.
        episodes: of an epoch; None: as many as take about all rows.
    """

    k: int | None = setting(default=None, minimum=1, maximum=1000, integer=True, optional=True)
    method: str = setting(default="prototypes", choices=METHODS)
    ways: int | None = setting(default=None, minimum=2, maximum=1000, integer=True, optional=True)
    queries: int | None = setting(default=None, minimum=1, maximum=1000, integer=True, optional=True)
    within: bool | None = None
    divide: str = setting(default="auto", choices=("auto", "groups", "classes"))
    turns: bool = False
    dim: int | None = setting(default=None, minimum=2, maximum=4096, integer=True, optional=True)
    steps: int = setting(default=5, minimum=1, maximum=1000, integer=True)
    rate: float = setting(default=0.1, above=0)
    margin: float | None = setting(default=None, above=0, maximum=2, optional=True)
    scale: float | None = setting(default=None, above=0, optional=True)
    episodes: int | None = setting(default=None, minimum=1, integer=True, optional=True)

    @property
    def adapts(self) -> bool:
        """Whether new classes are learnt by gradient descent through the whole network."""
        return self.method in _ADAPTING

    def head(self, episode: Episode, *, within: bool) -> Shots:
        """The head of its models, before anything of it is fitted."""
        usual = 1.0 if self.method == "prototypes" else 10.0
        return Shots(
            self.method,
            *(episode.ways, episode.shots, episode.queries),
            within=within,
            scale=usual if self.scale is None else self.scale,
            steps=20 * self.steps if self.method == "probe" else self.steps,
            rate=self.rate,
        )


def loss_of(settings: FewShots) -> MetricLoss | None:
    """The loss of vectors with labels that a method is trained by; None of one that is trained by its episodes."""
    own: dict[str, Any] = {} if settings.margin is None else {"margin": settings.margin}
    scale: dict[str, Any] = {} if settings.scale is None else {"scale": settings.scale}
    if settings.method == "triplet":
        return Triplet(**own)
    if settings.method == "contrastive":
        return Contrastive(**own)
    if settings.method == "supcon":
        return SupCon(**({} if settings.scale is None else {"temperature": 1 / settings.scale}))
    if settings.method == "arcface":
        return ArcFace(**own, **scale)
    return ArcFace(margin=0.0, **scale) if settings.method == "probe" else None


def objective_of(network: Layer, head: Shots, loss: MetricLoss | None, judged: Episode) -> Episodic:
    """What the training makes small; it is judged by episodes of the form ``judged``."""
    of = Reptile if head.method == "reptile" else Episodic
    return of(network, head.learner, head.episode, loss, judged)


def shot_network(
    in_shape: tuple[int, int, int], *, width: int = 32, dim: int | None = None, groups: bool = False
) -> Sequential:
    """A convolutional network that gives vectors: stages of 3×3 convolutions, each half the size, down to a small map.

    Args:
        in_shape: ``(height, width, channels)`` of pixels 0 … 255.
        width: channels of the second stage; the first has half as many, the later ones twice.
        dim: of the vectors; None is the last map, place by place.
        groups: whether it normalises each picture by itself instead of the batch.

    Example:
        >>> shot_network((28, 28, 1)).out_shape((28, 28, 1))
        (576,)
    """
    if min(in_shape[:2]) < 8:
        raise ConfigError(f"the images have {in_shape[0]}×{in_shape[1]} pixels; expected at least 8 a side")
    from danlu.nn import Dense

    stages = max(2, min(5, round(math.log2(min(in_shape[:2]) / 3.5))))
    layers: list[Layer] = [Rescale()]
    for stage in range(stages):
        channels = max(2, width // 2) if stage == 0 else width * (1 if stage == 1 else 2)
        for number in range(1 if stage == 0 else 2):
            norm: Layer = GroupNorm(math.gcd(4, channels)) if groups else BatchNorm()
            layers += [Conv(channels, 3, use_bias=False, initializer="he_normal"), norm, Activation("relu")]
            layers += [MaxPool(2)] if number == 0 else []
    return Sequential((*layers, Flatten(), *([Dense(dim)] if dim else [])))


def shot_recipe(
    settings: FewShots,
    episode: Episode,
    rows: int,
    in_shape: tuple[int, int, int],
    *,
    classes: int,
    augment: Augment | None = None,
    fill: float = -1.0,
    width: int = 32,
    **changes: Any,
) -> Recipe:
    """The default recipe of a model for few examples.

    Args:
        settings: what the user asked for.
        episode: the form of the episodes.
        rows: how many pictures are learnt from.
        in_shape: of them.
        classes: of them.
        augment: random changes in training.
        fill: the value outside a moved picture, −1 … 1.
        width: of the network.
        **changes: fields of the :class:`Recipe` to set instead of the defaults.

    Raises:
        ConfigError: settings that do not go together.

    Example:
        >>> plan = shot_recipe(FewShots(k=1), Episode(5, 1, 4), 500, (28, 28, 1), classes=30)
        >>> plan.batch_size, plan.model.layers[0].out_shape((28, 28, 1))
        (100, (576,))
    """
    if settings.turns and in_shape[0] != in_shape[1]:
        raise ConfigError(
            f"shots.turns turns pictures by quarters, and these have {in_shape[0]}×{in_shape[1]} pixels; expected square ones",
            hint="data.image_size=64 makes them square",
        )
    if augment is not None and (augment.mixup or augment.cutmix):
        name = "mixup" if augment.mixup else "cutmix"
        raise ConfigError(f"augment.{name} mixes classes, and an episode tells its classes apart; leave it out")
    loss, devices = loss_of(settings), changes.get("devices", 1)
    fewest = episode.size * devices  # each device has whole episodes
    together = devices * max(1, round(_ROWS / fewest))
    units = (
        1 if settings.adapts else classes * (4 if settings.turns else 1) if loss is not None and loss.of_classes else 0
    )
    network = shot_network(in_shape, width=width, dim=settings.dim, groups=settings.adapts)
    layers = augment.layers(fill) if augment else ()
    cost = 3 * settings.steps if settings.adapts else 1
    per_epoch = max(rows, episode.size * together)
    fields: dict[str, Any] = {
        "model": with_last(network, units),
        "loss": "episodic" if loss is None else type(loss).__name__.lower(),
        "batch_size": together * episode.size,
        "epochs": max(_EPOCHS[0], min(affordable(_BUDGET / cost, network, in_shape, per_epoch), _EPOCHS[1])),
        "learning_rate": 1e-3 if settings.adapts else 3e-3,
        "weight_decay": 0.0 if settings.adapts else 0.02,
        "warm_up": 0.1,
        "augment": Changed(episode, layers, settings.turns, classes) if layers or settings.turns else None,
    }
    if "batch_size" in changes and changes["batch_size"] % fewest:
        each = "" if devices == 1 else " on each device"
        raise ConfigError(
            f"trainer.batch_size is {changes['batch_size']}; expected a multiple of {fewest}, the pictures of an episode{each}",
            hint=f"trainer.batch_size={fewest * max(1, round(changes['batch_size'] / fewest))}",
        )
    return Recipe.changed("shot_recipe", fields, changes)
