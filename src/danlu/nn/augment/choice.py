"""Some of several random changes, chosen anew for each image."""

from __future__ import annotations

import jax

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn.augment.change import RandomChange, like
from danlu.nn.augment.geometry import RandomAffine
from danlu.nn.augment.pixels import RandomColor

__all__ = ["RandomChoice", "rand_augment"]


class RandomChoice(RandomChange):
    """Each image through ``count`` changes, one after another, each drawn from ``changes`` with equal probability.

    Every change is computed for every image and one is kept, which is how a choice image by image compiles: the cost is
    ``count · len(changes)`` changes. Images must be floating-point numbers (put :class:`Rescale` before it).

    Args:
        changes: what is drawn from.
        count: how many are drawn, with replacement.

    Example:
        >>> from danlu.nn import RandomErase, RandomFlip
        >>> x = jax.numpy.ones((2, 5, 5, 1))
        >>> layer = RandomChoice((RandomFlip(), RandomErase()), count=1)
        >>> layer.apply({}, {}, x, train=True, key=jax.random.key(0))[0].shape
        (2, 5, 5, 1)
    """

    changes: tuple[RandomChange, ...]
    count: int = setting(default=2, minimum=1, integer=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.changes
        if not isinstance(given, tuple | list) or not given or not all(isinstance(c, RandomChange) for c in given):
            raise ConfigError(
                f"RandomChoice.changes is {given!r}; expected a tuple of changes, such as (RandomFlip(), RandomErase())"
            )
        object.__setattr__(self, "changes", tuple(given))

    def changed(self, key: jax.Array, image: jax.Array) -> jax.Array:
        branches = [lambda k, x, change=change: like(change.changed(k, x), x) for change in self.changes]
        for turn in range(self.count):
            which_key, change_key = jax.random.split(jax.random.fold_in(key, turn))
            which = jax.random.randint(which_key, (), 0, len(branches))
            image = jax.lax.switch(which, branches, change_key, image)
        return image


class Unchanged(RandomChange):
    """The identity, so that a choice can leave an image unchanged."""

    def changed(self, key: jax.Array, image: jax.Array) -> jax.Array:
        return image


def rand_augment(count: int = 2, magnitude: float = 0.5, *, fill: float = 0.0) -> RandomChoice:
    """RandAugment: ``count`` of eight changes per image, all of one magnitude.

    The changes are none, rotation (up to 30°), shear (17°), scale (0.5), moves (0.3 of a side), brightness (1 for inputs in
    −1 … 1), contrast and saturation (0.9), each range times ``magnitude``.

    Args:
        count: changes an image, >= 1.
        magnitude: in [0, 1]; the paper's ``M`` divided by 10.
        fill: the value outside the image.

    Raises:
        ConfigError: a value out of range.

    Reference: Cubuk et al. (2020), arXiv:1909.13719. A change is drawn from the whole range up to its magnitude (the
    paper's "random magnitude" scheme, its table 6: as good); solarize, posterize, equalize, auto-contrast and sharpness
    are left out.
    """
    if not 0 <= magnitude <= 1:
        raise ConfigError(f"rand_augment received magnitude={magnitude!r}; expected a number in [0, 1]")
    still = {"rotation": 0.0, "scale": 0.0, "shear": 0.0, "translate": 0.0}
    moves = {"rotation": 30.0, "shear": 17.0, "scale": 0.5, "translate": 0.3}
    grey = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0}
    colors = {"brightness": 1.0, "contrast": 0.9, "saturation": 0.9}
    affine = [RandomAffine(**{**still, name: most * magnitude}, fill=fill) for name, most in moves.items()]
    color = [RandomColor(**{**grey, name: most * magnitude}) for name, most in colors.items()]
    return RandomChoice((Unchanged(), *affine, *color), count)
