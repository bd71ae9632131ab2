"""The settings of segments, and the recipe of the network that gives rows their codes."""

from __future__ import annotations

from typing import Any

from danlu.blueprint import Blueprint, setting
from danlu.data import TableEncoder
from danlu.engine import Fitted
from danlu.segments.network import Redrawn, TableAutoencoder
from danlu.tasks import Recipe

__all__ = ["SegmentSettings", "SegmentsRecipe", "segments_recipe"]

_STEPS = 1500  # updates of a training, about
_EPOCHS = (10, 200)


class SegmentSettings(Blueprint):
    """How rows are divided into segments; naming ``k`` makes ``danlu train`` do so.

    Args:
        k: how many segments; 0 lets the rows decide, which may find that there are none.
        most: the most that are tried where the rows decide.
        codes: how many numbers stand for a row; None is by the number of columns.
    """

    k: int | None = setting(default=None, minimum=0, maximum=50, integer=True, optional=True)
    most: int = setting(default=8, minimum=2, maximum=50, integer=True)
    codes: int | None = setting(default=None, minimum=1, maximum=64, integer=True, optional=True)


class SegmentsRecipe(Recipe):  # type: ignore[misc]
    """How an autoencoder of rows is trained: by what it makes of rows of which some columns are hidden."""

    loss: str = setting(default="redrawn", choices=("redrawn",))

    def fit(self, data: Any, *, rows: int, seed: int = 0, **how: Any) -> Fitted:
        """See :meth:`Recipe.fit`."""
        network: Any = self.model
        return super().fit(data, rows=rows, seed=seed, **{"loss": Redrawn(network), **how})


def segments_recipe(
    encoder: TableEncoder, rows: int, *, codes: int | None = None, width: int | None = None, **changes: Any
) -> SegmentsRecipe:
    """The default recipe for encoded rows.

    Args:
        rows: how many are learnt from.
        codes: how many numbers stand for a row; None is half as many as there are columns, from 2 to 8.
        width: of the hidden layers.
        **changes: fields of the recipe.
    """
    shapes = encoder.in_shape
    columns = len(encoder.schema.features)
    model = TableAutoencoder(
        numeric=shapes["numeric"][0] if "numeric" in shapes else 0,
        vocabularies=encoder.cardinalities,
        text=shapes["text"][0] if "text" in shapes else 0,
        codes=codes or max(2, min(8, -(-columns // 2))),
        width=width or 64,
    )
    batch_size = int(changes.get("batch_size", max(16, min(256, rows // 8))))
    each = max(1, rows // batch_size)
    epochs = max(_EPOCHS[0], min(-(-_STEPS // each), _EPOCHS[1]))
    fields: dict[str, Any] = {
        "model": model,
        "batch_size": batch_size,
        "epochs": epochs,
        "patience": max(15, epochs // 4),
        "learning_rate": 3e-3,
        "weight_decay": 0.01,
        "clip_norm": 10.0,
    }
    found: Any = SegmentsRecipe.changed("segments_recipe", fields, changes)
    return found
