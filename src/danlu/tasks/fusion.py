"""The default recipe for rows of several modalities: a tower each, and one head."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from danlu.blueprint import Blueprint, setting
from danlu.data.composite import Composite
from danlu.data.images import ImageEncoder
from danlu.data.text import TextEncoder
from danlu.nn import Dense, Fusion, Layer, Parallel, Rescale, Sequential, TabularNet
from danlu.nn.fusion import FUSIONS
from danlu.nn.table_embeddings import NumericEmbedding
from danlu.tasks.image import Augment, image_tower
from danlu.tasks.recipe import Recipe, affordable, epochs_of, units_of
from danlu.tasks.text import text_towers
from danlu.tasks.trunks import Trunk, rates_of

__all__ = ["Fusing", "fusion_recipe", "tower_of"]

_BUDGET = 2.0e13  # floating-point operations of a training, as of pictures
_EPOCHS = (8, 60)
_STEPS = 600  # that a small table gets at least
_FEW = 2000


class Fusing(Blueprint):
    """How modalities are put together.

    Args:
        kind: ``"late"``, ``"mid"`` or ``"blend"``, see :class:`~danlu.nn.Fusion`; None is late, and leaves tables whose
            other modalities are only texts to the recipe for tables, which sees the commonest words.
        dropout: the share of the modalities that is taken away in training.
        features: numbers that each tower gives to the head.
        compare: whether each modality is trained alone as well, to compare with; it takes about as long again.
    """

    kind: str | None = setting(default=None, choices=FUSIONS, optional=True)
    dropout: float = setting(default=0.1, minimum=0, below=1)
    features: int = setting(default=64, minimum=4, maximum=4096, integer=True)
    compare: bool = True


def tower_of(
    encoder: Any,
    features: int,
    *,
    augment: Augment | None = None,
    fill: float = -1.0,
    last: str = "relu",
    trunk: Trunk | None = None,
) -> Layer:
    """The layers from what an encoder gives to ``features`` numbers: convolutions of pictures and of recordings' log-mel pictures,
    n-grams beside convolutions of texts.

    Args:
        last: the activation of these numbers.
        trunk: the trained layers that stand in the place of fresh ones.
    """
    if isinstance(encoder, TextEncoder):
        if trunk is not None:
            return Sequential((trunk.part, Dense(features, last)))
        bag, words = text_towers(encoder.tokenizer.size, encoder.buckets, dropout=0.3)
        both = Parallel((Sequential(bag), Sequential(words)), inputs=("grams", "words"))
        return Sequential((both, Dense(features, last)))
    own = augment
    if augment is not None and not isinstance(encoder, ImageEncoder):  # time and pitch are neither turned nor mirrored
        own = Augment(False, 0.0, 0.0, 0.0, augment.translate, augment.erase)
    if trunk is not None:
        return Sequential((Rescale(), *(own.layers(fill) if own else ()), trunk.part, Dense(features, last)))
    layers = image_tower(encoder.in_shape, augment=own, fill=fill)
    return Sequential((*layers, Dense(features, last)))


def fusion_recipe(
    task: str,
    rows: int,
    encoder: Composite,
    *,
    classes: int = 2,
    fusing: Fusing | None = None,
    augment: Augment | None = None,
    fills: Mapping[str, float] | None = None,
    network: Mapping[str, Any] | None = None,
    trunks: Mapping[str, Trunk] | None = None,
    **changes: Any,
) -> Recipe:
    """The default recipe for ``rows`` training rows.

    Args:
        task: ``"regression"``, ``"binary"`` or ``"multiclass"``.
        encoder: fitted to them.
        classes: how many, of a multiclass target.
        fusing: how modalities are put together.
        augment: random changes of pictures in training; None has none.
        fills: by column, the brightness outside pictures, in −1 … 1.
        network: fields of the head, a :class:`~danlu.nn.TabularNet`, to set instead of the defaults.
        trunks: by column, the trained layers that its tower begins with.
        **changes: fields of the :class:`Recipe` to set instead of the defaults.

    Raises:
        ConfigError: another task, or an unknown field.
    """
    units, fusing = units_of("fusion_recipe", task, rows, classes), fusing or Fusing()
    table = encoder.table
    numeric = table.in_shape.get("numeric", (0,))[0] if table is not None else 0
    embedding = NumericEmbedding(
        min(12, max(2, 1200 // max(numeric, 1))), bins=min(48, max(4, rows // 16)), frequencies=0
    )
    head: dict[str, Any] = {"width": 128 if rows < _FEW else 192, "members": 8, "numeric": embedding, **(network or {})}
    vocabularies = () if table is None else tuple(int(count) for count in table.cardinalities)
    model = Fusion(
        tuple(name for name, _ in encoder.parts),
        tuple(
            tower_of(
                part,
                fusing.features,
                augment=augment,
                fill=(fills or {}).get(name, -1.0),
                trunk=(trunks or {}).get(name),
            )
            for name, part in encoder.parts
        ),
        TabularNet(units, vocabularies=vocabularies, **head),
        fusing.features,
        table is not None,
        fusing.kind or "late",
        fusing.dropout,
    )
    batch_size = min(128, max(16, rows // 20))
    fewest, most = _EPOCHS
    least = min(epochs_of(_STEPS, rows, batch_size), most)
    fields: dict[str, Any] = {
        "model": model,
        "loss": "mse" if task == "regression" else "categorical_cross_entropy",
        "batch_size": batch_size,
        "epochs": max(fewest, least, min(affordable(_BUDGET, model, encoder.in_shape, rows), most)),
        "learning_rate": 3e-3,
        "weight_decay": 0.02,
        "warm_up": 0.1,
        "rates": rates_of(model, trunks or {}),
        "patience": max(10, math.ceil(changes.get("epochs", most) / 4)),
    }
    return Recipe.changed("fusion_recipe", fields, changes)
