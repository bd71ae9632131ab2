"""``danlu card``: what a model is, for those who are to use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from danlu.errors import ConfigError
from danlu.pipeline.domains import load_model
from danlu.trained import Trained
from danlu.trained.card import Card
from danlu.trained.card import card as card_of

__all__ = ["card"]


def card(model: Trained | str | Path, **given: Any) -> Card:
    """The card of a model: data, scores with intervals, groups, intended use, limits, provenance, licence.

    Args:
        model: a trained model, or the folder of a run or of a saved model.
        **given: what only people can say: ``name``, ``license``, ``intended_use``, ``languages``, ``datasets``; see
            :func:`danlu.trained.card.card`.

    Returns:
        The card: ``str(…)`` is its Markdown in English, ``.write(path)`` writes it in the reader's language.

    Raises:
        ArtifactError: there is no model.
        ConfigError: something that is no licence, or no model.

    Example:
        >>> import tempfile, danlu
        >>> rows = {"x": [float(i) for i in range(60)], "y": ["low", "high"] * 30}
        >>> model = danlu.train(rows, target="y", runs=tempfile.mkdtemp(), display="none", say=lambda line: None,
        ...                     model={"members": 2, "width": 8}, trainer={"epochs": 1}).model
        >>> print(str(card(model, name="Low or high")).partition("# ")[2].splitlines()[0])
        Low or high
    """
    if isinstance(model, str | Path):
        return card_of(load_model(model), **{"name": Path(model).resolve().name, **given})
    if not isinstance(model, Trained):
        raise ConfigError(
            f"danlu.card received a {type(model).__name__}; expected a trained model, or the folder of a run",
            hint="of danlu.train's result it is result.model",
        )
    return card_of(model, **given)
