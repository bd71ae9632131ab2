"""The default recipes of models that make rows, and their training."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.data.rows import RowEncoder
from danlu.engine import Fitted
from danlu.errors import ConfigError
from danlu.generative.rows.autoencoder import RowVAE
from danlu.generative.rows.autoregressive import RowMADE
from danlu.generative.rows.copula import RowCopula
from danlu.generative.rows.diffusion import RowDiffusion
from danlu.generative.rows.flow import RowFlow
from danlu.generative.rows.head import RowDraws
from danlu.generative.rows.network import Likelihood, RowModel
from danlu.generative.rows.settings import Synthesize
from danlu.tasks import Recipe
from danlu.trained import Learned

__all__ = ["RowRecipe", "learn_rows", "row_recipe"]

_STEPS = {"autoregressive": 3000, "diffusion": 8000, "vae": 6000, "flow": 3000, "copula": 1}
"""Updates of a training, about."""
_EPOCHS = (10, 400)
_FEW = 4000  # rows below which cells of numbers share more of what they know


class RowRecipe(Recipe):  # type: ignore[misc]
    """How a model of rows is trained: by ``−log p`` of rows, or its bound."""

    loss: str = setting(default="likelihood", choices=("likelihood",))

    def fit(self, data: Any, *, rows: int, seed: int = 0, **how: Any) -> Fitted:
        """See :meth:`Recipe.fit`."""
        network: Any = self.model
        return super().fit(data, rows=rows, seed=seed, **{"loss": Likelihood(network), **how})


def row_recipe(
    encoder: RowEncoder,
    rows: int,
    *,
    settings: Synthesize | None = None,
    width: int | None = None,
    depth: int | None = None,
    dropout: float | None = None,
    **changes: Any,
) -> RowRecipe:
    """The default recipe for encoded rows; ``"auto"`` is autoregressive.

    Args:
        rows: how many are learnt from.
        settings: the user's.
        width, depth, dropout: of the network.
        **changes: fields of the :class:`RowRecipe` to set instead of the defaults.

    Raises:
        ConfigError: an unknown field, one that the model does not have, or a value out of range.
    """
    settings = settings or Synthesize()
    kind = "autoregressive" if settings.model in (None, "auto") else str(settings.model)
    few = rows < _FEW
    makers: dict[str, Any] = {
        "autoregressive": (
            RowMADE,
            {"width": 128 if few else 256, "depth": 2, "dropout": 0.2 if few else 0.1, "own": 0.1 if few else 1.0},
        ),
        "diffusion": (RowDiffusion, {"width": 256, "depth": 2, "steps": settings.steps}),
        "vae": (RowVAE, {"width": 128}),
        "flow": (RowFlow, {"width": 64}),
        "copula": (RowCopula, {}),
    }
    maker, own = makers[kind]
    asked = {
        name: value for name, value in (("width", width), ("depth", depth), ("dropout", dropout)) if value is not None
    }
    if strange := sorted(set(asked) - set(own)):
        raise ConfigError(
            f"model.{strange[0]} is {asked[strange[0]]}, which a model of rows by synthesize.model={kind} does not have",
            hint=f"it has: {', '.join(f'model.{name}' for name in own if name not in ('steps', 'own'))}"
            if own
            else "leave it out",
        )
    model = maker(encoder.sizes, tuple(cells.is_number for cells in encoder.cells), **{**own, **asked})
    batch_size = int(changes.get("batch_size", 256 if rows >= 4000 else max(16, min(64, rows // 8))))
    each = max(1, rows // batch_size)
    epochs = max(_EPOCHS[0], min(-(-_STEPS[kind] // each), _EPOCHS[1])) if kind != "copula" else 1
    fields: dict[str, Any] = {
        "model": model,
        "batch_size": batch_size,
        "epochs": epochs,
        "patience": max(15, epochs // 4),
        "learning_rate": 2e-3 if kind != "flow" else 1e-3,
        "weight_decay": 0.01,
        "clip_norm": 10.0,
    }
    found: Any = RowRecipe.changed("row_recipe", fields, changes)
    return found


def learn_rows(
    train: dict[str, np.ndarray],
    *,
    encoder: RowEncoder,
    plan: RowRecipe,
    validation: dict[str, np.ndarray],
    seed: int = 0,
    **how: Any,
) -> Learned:
    """Train the recipe's model on encoded rows; the validation rows choose the best epoch.

    Args:
        **how: ``callbacks``, ``checkpoint``, ``resume``, ``initial`` and ``display``, for :func:`danlu.fit`.
    """
    network: Any = plan.model
    rows = len(train["cell"])
    if "initial" not in how:
        how["initial"] = begun(network, encoder, train, seed)
    if isinstance(network, RowCopula):
        how["epochs"] = 0  # it is fitted in closed form
    return plan.learn(
        (train, np.zeros(rows, np.float32)),
        encoder=encoder,
        head=RowDraws(),
        rows=rows,
        validation=(validation, np.zeros(len(validation["cell"]), np.float32)),
        seed=seed,
        **how,
    )


def begun(network: RowModel, encoder: RowEncoder, train: dict[str, np.ndarray], seed: int) -> tuple[Any, Any]:
    """The parameters that training begins with, and the state that holds what the cells are."""
    params, _, _ = network.init(jax.random.key(seed), encoder.in_shape)
    share = [cells.share for cells in encoder.cells]
    fitted = {
        "share": np.concatenate(share),
        "before": np.concatenate([np.concatenate([[0.0], np.cumsum(each)[:-1]]) for each in share]),
        "jitter": np.concatenate([cells.jitter for cells in encoder.cells]),
    }
    state = {name: jnp.asarray(each, jnp.float32) for name, each in fitted.items()}
    if isinstance(network, RowCopula):
        params = network.fitted(state, train, seed=seed)
    return params, state
