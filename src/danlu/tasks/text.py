"""The default recipe for texts: two small networks side by side, one of n-grams and one of words in order."""

from __future__ import annotations

from typing import Any

from danlu.data.text import TextEncoder
from danlu.nn import (
    Conv,
    Dense,
    Dropout,
    Embedding,
    Layer,
    MaxOverTime,
    Parallel,
    PerToken,
    Pool,
    Sequential,
    ZeroPadding,
)
from danlu.tasks.recipe import Recipe, epochs_of, units_of

__all__ = ["private_text_recipe", "text_network", "text_recipe", "text_towers"]

_STEPS = 270  # the updates that are aimed at
_EPOCHS = (4, 30)
_DIM = 16  # of an n-gram's vector


def text_network(
    vocabulary: int,
    buckets: int,
    units: int,
    *,
    width: int = 48,
    dropout: float = 0.5,
    widths: tuple[int, ...] = (1, 2, 3),
) -> Parallel:
    """Two members, whose predictions are averaged: they err on different texts.

    The first is the mean of the n-grams' vectors and a linear output. An n-gram's vector starts at zero, so that one never
    seen says nothing. The second is a TextCNN: convolutions over the words' vectors, each feature's largest value.

    Args:
        vocabulary, buckets: numbers of words and n-grams, see :class:`~danlu.data.text.TextEncoder`.
        units: outputs, one a class, or one.
        width: size of a word's vector, and features of each width.
        dropout: of the words' vectors and before the output, in [0, 1).
        widths: words that a feature sees.

    Reference: Joulin et al. 2017, "Bag of tricks for efficient text classification" (the first); Kim 2014 (the second).

    Example:
        >>> shape = {"words": {"x": (40,), "mask": (40,)}, "grams": {"x": (96,), "mask": (96,)}}
        >>> text_network(1000, 5000, 2).out_shape(shape)
        (2, 2)
    """
    bag, convolved = text_towers(vocabulary, buckets, width=width, dropout=dropout, widths=widths)
    convolved = (*convolved, Dropout(dropout), Dense(units))
    members = Sequential((*bag, Dense(units))), Sequential(convolved)
    return Parallel(members, merge="stack", inputs=("grams", "words"))


def text_towers(
    vocabulary: int, buckets: int, *, width: int = 48, dropout: float = 0.5, widths: tuple[int, ...] = (1, 2, 3)
) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    """The layers of each of the two from a text to its features; see :func:`text_network`."""
    bag = (PerToken(Embedding(buckets, _DIM, initializer="zeros")), Pool("mean"))
    branches = [Sequential((PerToken(Conv(width, size, activation="relu")), MaxOverTime())) for size in widths]
    words = (PerToken(Embedding(vocabulary, width)), PerToken(Dropout(dropout)), ZeroPadding())
    return bag, (*words, Parallel(tuple(branches)))


def private_text_recipe(task: str, rows: int, encoder: TextEncoder, *, classes: int = 2, **changes: Any) -> Recipe:
    """The recipe of a network of texts that learns with noise: the mean of what each of its n-grams says of each class.

    Fewer parameters get noise than in two layers, and it learns from the first step on, though all of them are 0.

    Args:
        task, rows, encoder, classes, **changes: see :func:`text_recipe`.
    """
    units = units_of("private_text_recipe", task, rows, classes)
    bag = (PerToken(Embedding(encoder.buckets, units, initializer="zeros")), Pool("mean"))
    model = Parallel((Sequential(bag),), merge="stack", inputs=("grams",))
    return text_recipe(task, rows, encoder, classes=classes, **{"model": model, **changes})


def text_recipe(
    task: str,
    rows: int,
    encoder: TextEncoder,
    *,
    classes: int = 2,
    width: int = 48,
    dropout: float = 0.5,
    **changes: Any,
) -> Recipe:
    """The default recipe for ``rows`` training texts.

    Args:
        task: ``"regression"``, ``"binary"`` or ``"multiclass"``.
        encoder: fitted to them.
        classes: how many, of a multiclass target.
        width, dropout: see :func:`text_network`.
        **changes: fields of the :class:`Recipe` to set instead of the defaults.

    Raises:
        ConfigError: another task, or an unknown field.

    Example:
        >>> plan = text_recipe("binary", 6920, TextEncoder.fit(["good food", "bad food"]))
        >>> plan.epochs, plan.batch_size
        (5, 128)
    """
    units = units_of("text_recipe", task, rows, classes)
    batch_size = min(128, max(16, rows // 40))
    fewest, most = _EPOCHS
    fields: dict[str, Any] = {
        "model": text_network(encoder.tokenizer.size, encoder.buckets, units, width=width, dropout=dropout),
        "loss": "mse" if task == "regression" else "categorical_cross_entropy",
        "batch_size": batch_size,
        "epochs": min(max(epochs_of(_STEPS, rows, batch_size), fewest), most),
        "learning_rate": 1e-2,
        "weight_decay": 0.01,
        "patience": 5,
    }
    return Recipe.changed("text_recipe", fields, changes)
