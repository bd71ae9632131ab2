"""The default recipes of models that draw pictures."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from danlu.blueprint import setting
from danlu.engine import Fitted, Program, TrainState, train
from danlu.engine.average import Average
from danlu.errors import ConfigError
from danlu.generative.diffusion import Diffusion
from danlu.generative.flow import RectifiedFlow
from danlu.generative.gan import GAN, LOSSES, PENALTIES, GanGame, Turns
from danlu.generative.network import Generating
from danlu.generative.settings import KINDS, Generate
from danlu.generative.unet import TimedUNet
from danlu.generative.vae import VAE
from danlu.nn import (
    MLP,
    Activation,
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Flatten,
    Layer,
    Parallel,
    Reshape,
    Sequential,
    SpectralNorm,
)
from danlu.optim import adam
from danlu.tasks import Recipe
from danlu.tasks.recipe import affordable

__all__ = ["GameRecipe", "PaintingRecipe", "grain_of", "likelihood_of", "painting_recipe"]

_BUDGET = 2.0e13  # floating-point operations of a training, backward passes included: minutes on two cores
_EPOCHS = 100
_STEPS = 2000  # updates that a small set of pictures gets at least
_MOST_EPOCHS = 500
_FINE = 16  # pixels a side from which a U-Net sees 2×2 of them at one place
_PLAIN = 1024  # numbers of a picture up to which a VAE has dense layers alone


class PaintingRecipe(Recipe):
    """How a network that draws is trained.

    Attributes:
        unlabelled: the share of the rows whose label is not told.
        beta: the weight of the term ``"kl"``, where there is one.
    """

    loss: str = setting("generating", choices=("generating",))
    unlabelled: float = setting(default=0.1, minimum=0, below=1)
    beta: float = setting(default=1.0, minimum=0)

    def fit(self, data: Any, *, rows: int, seed: int = 0, **how: Any) -> Fitted:
        """See :meth:`Recipe.fit`."""
        network: Any = self.model
        weights = {"kl": self.beta} if isinstance(network, VAE) else None
        own = {"loss": Generating(network, self.unlabelled), "loss_weights": weights}
        return super().fit(data, rows=rows, seed=seed, **{**own, **how})


class GameRecipe(PaintingRecipe):
    """How a GAN is trained: its two programs in turn, each with an Adam of its own, and the mean of both networks' weights is kept.

    Attributes:
        adversarial, penalty, weight: the ``loss``, the ``penalty`` and its weight, see :class:`~danlu.generative.GanGame`.
        beta1: of both Adams.
    """

    adversarial: str = setting(default="non-saturating", choices=LOSSES)
    penalty: str = setting(default="r1", choices=PENALTIES)
    weight: float = setting(default=1.0, minimum=0)
    beta1: float = setting(default=0.5, minimum=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, usual in (("devices", 1), ("precision", "float32"), ("snapshots", 1), ("copies", 1), ("folds", 1)):
            if getattr(self, name) != usual:
                raise ConfigError(f"{name} is {getattr(self, name)}, and the two programs of a GAN have {usual}")
        if self.average == "swa":
            raise ConfigError("average is 'swa', the mean of the ends of epochs; a GAN keeps 'ema' or 'none'")

    def fit(self, data: Any, *, rows: int, seed: int = 0, **how: Any) -> Fitted:
        """See :meth:`Recipe.fit`; without a measure of rows all epochs are done, and the last weights are kept."""
        network: Any = self.model
        (generator, critic), state = how["initial"]
        params = {"generator": generator, "critic": critic}
        optimizer = adam(self.learning_rate, beta1=self.beta1, beta2=self.beta2)
        turns = [
            GanGame(network, side, self.adversarial, self.penalty, self.unlabelled) for side in ("critic", "generator")
        ]
        programs = [
            Program(
                network,
                game,
                optimizer.update,
                measures=game.named,
                batch_size=self.batch_size,
                terms=tuple(name for name in game.named if name in ("told", "slope")),
            )
            for game in turns
        ]
        decay = self.decay(rows)
        start = TrainState.start(
            params,
            (optimizer.init(params), optimizer.init(params)),
            state,
            seed=seed,
            weights={"slope": self.weight} if self.penalty != "none" else None,
            average=None if decay is None else Average.of("ema", params, state, decay=decay),
        )
        kept = {name: how[name] for name in ("callbacks", "checkpoint", "resume", "display") if name in how}
        turned = Turns(programs[0], programs[1], ("critic", "generator"))
        fitted = train(turned, data, start, epochs=self.epochs, seed=seed, **kept)
        return dataclasses.replace(fitted, params=(fitted.params["generator"], fitted.params["critic"]))


def painting_recipe(
    kind: str,
    images: int,
    in_shape: tuple[int, int, int],
    *,
    classes: int = 0,
    settings: Generate | None = None,
    likelihood: str = "bernoulli",
    width: int | None = None,
    **changes: Any,
) -> PaintingRecipe:
    """The default recipe for pictures of one shape, trained within a compute budget.

    Args:
        kind: ``"vae"``, ``"diffusion"``, ``"flow-matching"`` or ``"gan"``; ``"auto"`` is a VAE.
        images: how many are learnt from.
        in_shape: ``(height, width, channels)``, of pixels 0 … 255.
        classes: how many labels; 0 without.
        settings: the user's.
        likelihood: of a VAE.
        width: of a VAE with dense layers: units of the hidden layers (500); with convolutions, and of a
            U-Net: features of the first (32).
        **changes: fields of the :class:`PaintingRecipe` to set instead of the defaults.

    Raises:
        ConfigError: an unknown kind or field, or a value out of range.

    Reference: the dense VAE is that of Flax's example (hidden 500, 20 codes).

    Example:
        >>> plan = painting_recipe("vae", 60_000, (28, 28, 1))
        >>> plan.model.codes, plan.batch_size
        (20, 64)
    """
    settings = settings or Generate()
    if kind not in KINDS:
        raise ConfigError(f"painting_recipe() was given {kind!r}; expected one of: {', '.join(KINDS)}")
    own: dict[str, Any] = {"learning_rate": 2e-3, "clip_norm": 100.0}
    model: Any
    maker: type[PaintingRecipe] = PaintingRecipe
    if kind in ("auto", "vae"):
        model = _vae(in_shape, settings, classes, likelihood, width)
    elif kind == "gan":
        maker, model = GameRecipe, _gan(in_shape, settings, classes, width)
        penalty = settings.penalty
        if penalty == "auto":
            penalty = "wgan-gp" if settings.loss == "wasserstein" else "r1"
        weight = settings.weight if settings.weight is not None else 10.0 if penalty == "wgan-gp" else 1.0
        own = {
            "learning_rate": 5e-4,
            "average": "ema",
            "adversarial": settings.loss,
            "penalty": penalty,
            "weight": weight,
        }
    else:
        unet = _unet(in_shape, classes, width)
        model = Diffusion(unet, classes=classes) if kind == "diffusion" else RectifiedFlow(unet, classes)
        own = {"learning_rate": 1e-3, "clip_norm": 1.0, "average": "ema"}
    batch_size = changes.get("batch_size", min(64 if isinstance(model, VAE) else 128, max(16, images // 20)))
    enough = min(-(-_STEPS * batch_size // images), _MOST_EPOCHS)
    fields: dict[str, Any] = {
        "model": model,
        "batch_size": batch_size,
        "epochs": max(min(affordable(_BUDGET, model, in_shape, images), max(_EPOCHS, enough)), 1),
        "weight_decay": 0.0,
        **own,
        "beta2": 0.999,
        "unlabelled": settings.unlabelled,
        "beta": settings.beta,
    }
    if kind == "gan":
        fields["beta2"] = 0.99
    found: Any = maker.changed("painting_recipe", fields, changes)
    return found


def _vae(in_shape: tuple[int, int, int], settings: Generate, classes: int, likelihood: str, width: int | None) -> VAE:
    """Dense layers for small grey pictures, convolutions for others."""
    codes, numbers = settings.codes or (20 if math.prod(in_shape) <= _PLAIN else 64), math.prod(in_shape)
    how: dict[str, Any] = {"codes": codes, "likelihood": likelihood, "classes": classes}
    if numbers <= _PLAIN:
        hidden = width or 500
        body: tuple[Layer, ...] = (Flatten(), Dense(hidden, "relu"))
        return VAE(_told(body, hidden, codes, classes), MLP((hidden,), numbers), **how)
    w, (height, across, channels) = width or 32, in_shape
    small = (height // 4, across // 4, 2 * w)
    body = (Conv(w, 4, 2, 1, activation="relu"), Conv(2 * w, 4, 2, 1, activation="relu"), Flatten(), Dense(256, "relu"))
    encoder = _told(body, 256, codes, classes)
    decoder = Sequential(
        (
            Dense(256, "relu"),
            Dense(math.prod(small), "relu"),
            Reshape(small),
            ConvTranspose(w, 4, 2, 1, activation="relu"),
            ConvTranspose(channels, 4, 2, 1),
        )
    )
    return VAE(encoder, decoder, **how)


def _told(body: tuple[Layer, ...], hidden: int, codes: int, classes: int) -> Layer:
    """An encoder: what is seen of a picture, beside its label where there are labels, to the mean and log spread of the codes."""
    if not classes:
        return Sequential((*body, Dense(2 * codes)))
    both = Parallel((Sequential(body), Sequential()), inputs=("x", "label"))
    return Sequential((both, Dense(hidden, "relu"), Dense(2 * codes)))


def _gan(in_shape: tuple[int, int, int], settings: Generate, classes: int, width: int | None) -> GAN:
    """A DCGAN of two strides: the generator with batch norm, the critic without any norm (or with the spectral one)."""
    w, (height, across, channels) = width or 32, in_shape
    small, codes = (height // 4, across // 4, 2 * w), settings.codes or 64
    generator = Sequential(
        (
            Dense(math.prod(small), use_bias=False),
            Reshape(small),
            BatchNorm(),
            Activation("relu"),
            ConvTranspose(w, 4, 2, 1, use_bias=False),
            BatchNorm(),
            Activation("relu"),
            ConvTranspose(channels, 4, 2, 1, activation="tanh"),
        )
    )
    convs: tuple[Layer, ...] = (Conv(w, 4, 2, 1), Conv(2 * w, 4, 2, 1), Dense(1 + classes))
    first, second, last = (SpectralNorm(layer) for layer in convs) if settings.spectral else convs
    leaky = Activation("leaky_relu")
    return GAN(generator, Sequential((first, leaky, second, leaky, Flatten(), last)), codes, classes)


def _unet(in_shape: tuple[int, int, int], classes: int, width: int | None) -> TimedUNet:
    """A small U-Net; of pictures of 16 pixels a side or more four pixels are one place."""
    width, side = width or 32, min(in_shape[:2])
    return TimedUNet((width, 2 * width), classes, 2 if side >= _FINE else 1)


def grain_of(kind: str, height: int, width: int) -> int:
    """What the sides of pictures must be multiples of."""
    return 4 if (kind != "diffusion" and kind != "flow-matching") or min(height, width) >= _FINE else 2


def likelihood_of(asked: str, pixels: np.ndarray) -> str:
    """What the pixels uint8 ``(…)`` of a VAE are: ``"bernoulli"`` where nearly all are black or white, ``"gaussian"`` else.

    >>> likelihood_of("auto", np.array([0, 255, 0, 250], np.uint8)), likelihood_of("auto", np.array([80, 130], np.uint8))
    ('bernoulli', 'gaussian')
    """
    if asked != "auto":
        return asked
    ends = (pixels < 26) | (pixels > 229)  # a tenth of the range at either end
    return "bernoulli" if ends.mean() > 0.8 else "gaussian"
