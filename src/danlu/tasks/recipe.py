"""How a network is trained, and the default recipe for a table, from the table's size alone.

One recipe for every table. The number of epochs comes from a budget of arithmetic, not of time, so the same table gives
the same recipe on every machine; on two CPU cores the budget is about a minute.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.engine import Fitted, enable_compilation_cache, fit
from danlu.engine.arrays import shapes_of
from danlu.engine.average import AVERAGES, decay_for
from danlu.engine.initial import initial_weights
from danlu.engine.layout import SHARDINGS
from danlu.engine.members import fit_members
from danlu.engine.mesh import check_shares
from danlu.engine.options import FitOptions
from danlu.engine.per_example import PerExample
from danlu.engine.precision import PRECISIONS
from danlu.errors import ConfigError
from danlu.nn.combine import Parallel
from danlu.nn.fusion import Fusion
from danlu.nn.layer import Layer
from danlu.nn.table_embeddings import NumericEmbedding
from danlu.nn.tabular import TabularNet
from danlu.optim import Optimizer, adamw, by_part, chain, clip_by_global_norm
from danlu.optim.schedules import Cosine, Restarts, Schedule, WarmUp
from danlu.trained import Encoder, Head, HeldOut, Learned, Trained

__all__ = ["Recipe", "affordable", "epochs_of", "recipe", "units_of"]

_BUDGET = 3.5e12  # floating-point operations of the hidden layers over the whole training, backward passes included
_EPOCHS = (8, 40)
_FEW = 2000  # rows below which a narrower network learns as much in less time
_MANY = 10_000  # rows from which waves in a column are learnt, and not the rows by heart
_STEPS = 300, 900  # the updates that training a small table takes: the fewest, and as many as the budget allows
_MOST_EPOCHS = 225
_SWA_RATE = 0.25  # of the peak, while weights are averaged
_OWN = (  # of kinds of data whose objective is made from more than outputs and targets
    "logged_reward", "softmax", "bpr", "contrast", "episodic", "triplet", "contrastive", "supcon", "arcface",
)  # fmt: skip


class Recipe(Blueprint):
    """The choices of :func:`recipe` (for tables) and :func:`image_recipe`; change any field with ``replace``.

    Attributes:
        model: the network, of which there is one for each fold.
        loss: name of the loss, averaged over the members: ``"mse"`` (of the standardised target) or
            ``"categorical_cross_entropy"`` (of the members' logits, one a class, for two classes as well); or what the objective of
            another kind of data is called.
        batch_size: rows a step.
        epochs: passes over the training rows, the length of the learning-rate schedule.
        patience: epochs without a better validation loss after which training may stop; the best weights are kept.
        learning_rate: peak learning rate of AdamW; for a table of few rows :func:`recipe` lowers it.
        warm_up: share of the steps in which the rate rises from 0.
        flat: share of the steps in which it then stays at its peak; after it half a cosine takes it back to 0.
        weight_decay: decoupled decay of the weights (see :meth:`decays`).
        beta2: AdamW's β₂.
        clip_norm: global norm above which a network's gradient is scaled down.
        validation: share of the training rows that is held out to choose the best epoch.
        precision: what the network computes in while it is trained; see :mod:`danlu.engine.precision`.
        devices: how many devices share the rows of each batch; see :mod:`danlu.engine.mesh`.
        sharding, tensor: where on them the weights lie; see :mod:`danlu.engine.layout`.
        augment: a change of each training batch (such as :class:`~danlu.nn.MixUp`), or None.
        folds: how many networks are trained side by side, each without a part of the rows; 1 when there is one that learns from all.
        average, average_decay, average_start: which weights are judged and kept; see :class:`~danlu.engine.FitOptions`. With ``"swa"`` the
            rate does not end at 0: by the epoch ``average_start`` it has fallen to a quarter of its peak, where it stays.
        private: the gradient of a private training, or None.
        snapshots: how many cycles there are, at whose ends the network is kept; each has the whole course of the rate.
        rates: what parts of the network learn at, as shares of the learning rate, by the beginnings of their paths; see
            :func:`~danlu.optim.by_part`.
        copies: how many networks there are of each fold (or in all), which differ by their seeds: an ensemble.
    """

    model: Layer
    loss: str = setting(
        choices=(
            "mse",
            "mae",
            "huber",
            "categorical_cross_entropy",
            "token_cross_entropy",
            "detection",
            "segmentation",
            "binary_cross_entropy",
            *_OWN,
        )
    )
    batch_size: int = setting(256, minimum=1, integer=True)
    epochs: int = setting(30, minimum=1, integer=True)
    patience: int = setting(16, minimum=1, integer=True)
    learning_rate: float = setting(8e-3, above=0)
    warm_up: float = setting(0.05, minimum=0, below=1)
    flat: float = setting(0.0, minimum=0, below=1)
    weight_decay: float = setting(0.01, minimum=0)
    beta2: float = setting(0.99, minimum=0, below=1)
    clip_norm: float = setting(1.0, above=0)
    validation: float = setting(0.15, above=0, below=1)
    precision: str = setting("float32", choices=tuple(PRECISIONS))
    devices: int = setting(1, minimum=1, integer=True)
    sharding: str = setting("replicated", choices=SHARDINGS)
    tensor: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    augment: Blueprint | None = None
    folds: int = setting(default=1, minimum=1, integer=True)
    copies: int = setting(default=1, minimum=1, integer=True)
    average: str = setting(default="none", choices=("none", *AVERAGES))
    average_decay: float | None = setting(default=None, minimum=0, below=1, optional=True)
    average_start: int | None = setting(default=None, minimum=0, integer=True, optional=True)
    snapshots: int = setting(default=1, minimum=1, integer=True)
    private: PerExample | None = None
    rates: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        shares = self.devices // self._options().together  # the options say what does not go together
        fitting = -(-self.batch_size // shares) * shares
        rows = f"a batch of {self.batch_size} rows"
        check_shares(rows, self.batch_size, shares, hint=f"trainer.batch_size={fitting} can")

    @classmethod
    def changed(cls, maker: str, fields: Mapping[str, Any], changes: Mapping[str, Any]) -> Recipe:
        """The recipe of a maker's default ``fields`` with the user's ``changes``; a default batch is rounded up so that its devices can
        share it.

        Raises:
            ConfigError: a change of no field, or a value out of range.
        """
        unknown = sorted(set(changes) - set(cls.__dataclass_fields__))
        if unknown:
            names = ", ".join(cls.__dataclass_fields__)
            raise ConfigError(f"{maker}() received the settings {unknown}; expected fields of a Recipe: {names}")
        settled = {**fields, **changes}
        devices = settled.get("devices", 1)
        if "batch_size" in fields and "batch_size" not in changes and isinstance(devices, int) and devices > 1:
            settled["batch_size"] = -(-fields["batch_size"] // devices) * devices
        return cls(**settled)

    def in_cycles(self, count: int, *, epochs: int | None = None) -> Recipe:
        """The same in ``count`` cycles, at whose ends the network is kept.

        Args:
            epochs: of all of them together; None takes the recipe's, and up to ``count`` more so that the cycles are of equal length.
        """
        return self.replace(snapshots=count, epochs=epochs or -(-self.epochs // count) * count)

    def _options(self) -> FitOptions:
        """The options of the engine that the recipe sets.

        Raises:
            ConfigError: averages or snapshots that do not go together, or with so many epochs.
        """
        names = (
            "epochs",
            "batch_size",
            "precision",
            "devices",
            "sharding",
            "tensor",
            "average",
            "average_decay",
            "average_start",
            "snapshots",
        )
        return FitOptions(**{name: getattr(self, name) for name in names})

    @property
    def anew(self) -> bool:
        """Whether the training begins with fresh weights, so that one which is no better than its beginning is of no use."""
        return True

    @property
    def networks(self) -> int:
        """How many networks are trained side by side."""
        return self.folds * self.copies

    def keys(self, key: jax.Array) -> Sequence[jax.Array]:
        """The random key of each network's initial weights."""
        return [key] if self.networks == 1 else list(jax.random.split(key, self.networks))

    def decays(self, params: Any) -> Any:
        """True for the parameters that weight decay applies to: as the network declares, else those with two axes or more."""
        own = getattr(self.model, "decays", None)
        if own is not None:
            return own(params)
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    def optimizer(self, rows: int) -> Optimizer:
        """The optimizer for ``rows`` training rows: gradient clipping, then AdamW on a warm-up, the peak, and half a cosine;
        of snapshots all of that in each cycle."""
        each = math.ceil(rows / self.batch_size)
        cycle = self.epochs // self.snapshots * each
        swa = self.average == "swa"
        steps = max(1, self._options().first_averaged * each) if swa else cycle
        rising = min(int(self.warm_up * steps), steps - 1)
        level = min(int(self.flat * steps), steps - rising - 1)
        final = _SWA_RATE * self.learning_rate if swa else 0.0
        schedule: Schedule = Cosine(self.learning_rate, max(steps - rising - level, 1), final)
        if level:
            schedule = WarmUp(schedule, level, initial=self.learning_rate)
        if rising:
            schedule = WarmUp(schedule, rising)
        if self.snapshots > 1:
            schedule = Restarts(schedule, cycle)
        found = chain(
            clip_by_global_norm(self.clip_norm),
            adamw(schedule, beta2=self.beta2, weight_decay=self.weight_decay, mask=self.decays),
        )
        return by_part(found, dict(self.rates)) if self.rates else found

    def refitted(self, epochs: int) -> dict[str, Any]:
        """What is different where the same training is done again for so many epochs: a mean begins where it did."""
        if self.average != "swa":
            return {}
        start = self._options().first_averaged
        return {"average_start": start} if epochs - start > 1 else {"average": "none", "average_start": None}

    def decay(self, rows: int) -> float | None:
        """The decay of a moving average of the weights for ``rows`` training rows; None without one."""
        if self.average != "ema":
            return None
        return (
            decay_for(self.epochs * math.ceil(rows / self.batch_size))
            if self.average_decay is None
            else self.average_decay
        )

    def fit(self, data: Any, *, rows: int, seed: int = 0, **how: Any) -> Fitted:
        """Train the model on ``data`` with the recipe's epochs, batch size and optimizer.

        Args:
            data: see :func:`danlu.fit`.
            rows: how many an epoch has, for the learning-rate schedule.
            seed: decides every random draw.
            **how: what else :func:`danlu.fit` takes (``initial``, ``validation``, ``callbacks``, …); it comes before the recipe.
        """
        settings = {**self._decided(rows), "patience": self._patience(how.get("validation")), **how}
        return fit(self.model, data, seed=seed, **settings)

    def learn(
        self,
        data: Any,
        *,
        encoder: Encoder,
        head: Head,
        rows: int,
        seed: int = 0,
        held: tuple[Any, Any] | None = None,
        **how: Any,
    ) -> Learned:
        """Train the model on encoded rows, and put it between their encoder and a head.

        Args:
            data, rows: see :meth:`fit`.
            encoder, head: of the trained model.
            seed: decides the initial weights and every random draw.
            held: encoded rows that are not learnt from, and their truth, to which the head is fitted; the copies of a network are judged
                by them.
            **how: see :meth:`fit`.
        """
        enable_compilation_cache()
        key = jax.random.key(seed)
        if self.copies > 1:
            how["initial"] = [
                initial_weights(self.model, encoder.in_shape, own) for own in jax.random.split(key, self.copies)
            ]
            fitted = self.cross_fit(data, None, rows=rows, seed=seed, **{**how, "validation": held})
        else:
            if "initial" not in how:
                how["initial"] = initial_weights(self.model, encoder.in_shape, key)
            fitted = self.fit(data, rows=rows, seed=seed, **how)
        model = Trained(fitted.model, fitted.params, fitted.state, encoder, head)
        if held is None:
            return Learned(model, fitted)
        known = HeldOut(model.answer(held[0]), held[1])
        return Learned(dataclasses.replace(model, head=head.fitted(known)), fitted, known)

    def cross_fit(self, data: Any, folds: np.ndarray | None, *, rows: int, seed: int = 0, **how: Any) -> Fitted:
        """Train the networks of each fold on the rows of the others, validated on the rows of its own; together they are one model.

        Args:
            data: ``(x, y)`` or ``(x, y, weight)``.
            folds: the fold of each row; None for copies that all learn from all rows, judged by ``validation``.
            rows: how many an epoch of one network has.
            **how: what else :func:`danlu.engine.members.fit_members` takes; it comes before the recipe.

        Returns:
            The record of all; ``params`` and ``state`` are those of its ``model``.
        """
        numbers = range(self.networks)
        decided = {
            **self._decided(rows),
            "patience": self._patience(data if folds is not None else how.get("validation")),
        }
        if folds is not None:
            own = [number // self.copies for number in numbers]
            decided["validation_rows"] = [np.flatnonzero(folds == fold) for fold in own]
            decided["train_rows"] = None if "samplers" in how else [np.flatnonzero(folds != fold) for fold in own]
        decided["optimizers"] = decided.pop("optimizer")
        return fit_members(
            self.model, data, seeds=[seed + number for number in numbers], together=True, **{**decided, **how}
        )

    def _patience(self, judged: Any) -> int | None:
        """The patience of a training that is judged by these rows; snapshots need all of it."""
        return None if judged is None or self.snapshots > 1 else self.patience

    def _decided(self, rows: int) -> dict[str, Any]:
        return {
            "loss": self.loss,
            "optimizer": self.optimizer(rows),
            "augment": self.augment,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "precision": self.precision,
            "devices": self.devices,
            "sharding": self.sharding,
            "tensor": self.tensor,
            "average": self.average,
            "average_decay": self.decay(rows),
            "average_start": self.average_start,
            "snapshots": self.snapshots,
            **({} if self.private is None else {"gradient": self.private}),
        }

    def told(self, held: HeldOut | None, target: Any) -> HeldOut | None:
        """What a head is fitted to: the answers for rows that were held out, as they are."""
        return held

    def initial(self, key: jax.Array, inputs: Any) -> tuple[Any, Any]:
        """``(params, state)`` of a network for encoded training rows ``inputs``; a table's numeric bins are set from them."""
        params, state = initial_weights(self.model, shapes_of(inputs), key)
        numeric = inputs.get("table", inputs).get("numeric") if isinstance(inputs, Mapping) else None

        def binned(model: Layer, own: Any) -> Any:
            if isinstance(model, Parallel):
                return tuple(binned(*each) for each in zip(model.branches, own, strict=True))
            return model.with_bins(own, numeric) if isinstance(model, TabularNet | Fusion) else own

        return params, binned(self.model, state)


def recipe(
    task: str,
    rows: int,
    *,
    numeric: int = 0,
    vocabularies: Sequence[int] = (),
    text: int = 0,
    classes: int = 2,
    folds: int = 1,
    network: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Recipe:
    """The default recipe for a table.

    Args:
        task: "regression", "binary" or "multiclass".
        rows: training rows, >= 1, validation rows not counted.
        numeric: numeric columns as encoded, indicator columns included.
        vocabularies: codes of each categorical column, "unknown" included.
        text: columns of text features.
        classes: classes of a multiclass target.
        folds: networks that are trained side by side, each without a part of the rows; they share out the members.
        network: fields of the :class:`~danlu.nn.TabularNet` to set instead of the defaults.
        **changes: fields of the :class:`Recipe` to set instead of the defaults.

    Raises:
        ConfigError: an unknown task or field, no rows, no columns, or a value out of range.

    Example:
        >>> plan = recipe("regression", 14_000, numeric=9, vocabularies=(6,))
        >>> plan.epochs, plan.batch_size, plan.model.members, plan.loss
        (40, 255, 16, 'mse')
        >>> recipe("binary", 100, numeric=4, epochs=3).epochs
        3
    """
    units = units_of("recipe", task, rows, classes)
    widths = {"numeric": numeric, "categorical": len(vocabularies), "text": text}
    if not any(widths.values()):
        raise ConfigError("recipe() was given no numeric, no categorical and no text columns; expected at least one")
    few = rows < _FEW
    # Wide tables get fewer numbers a column, and few rows fewer bins, each with enough rows in it to be learnt. Waves
    # tell any two values apart: the network then learns some thousand rows by heart (docs/design/tables.md).
    dim = min(12, max(2, 1200 // max(numeric, 1)))
    embedding = NumericEmbedding(dim, bins=min(48, max(4, rows // 16)), frequencies=16 if rows >= _MANY else 0)
    settings = {"width": 128 if few else 192, "numeric": embedding, **(network or {})}
    one = TabularNet(units, vocabularies=tuple(int(count) for count in vocabularies), **settings)
    model = one.replace(members=max(1, one.members // folds))
    seen = rows if folds == 1 else rows - rows // folds  # by one network
    # Batches of equal size: a last one of a few rows would move the weights as far as a full one, by chance.
    batches = max(4, math.ceil(rows / 256)) if rows >= 64 else 1
    batch_size, (fewest, most) = math.ceil(seen / batches), _EPOCHS
    spent = affordable(_BUDGET, model, {name: (width,) for name, width in widths.items() if width}, folds * seen)
    least, longest = (min(math.ceil(steps / batches), _MOST_EPOCHS) for steps in _STEPS)
    epochs = max(min(max(spent, fewest), most), least)
    if few:
        epochs = max(epochs, min(spent, longest))
    fields = {
        "model": model,
        "loss": "mse" if task == "regression" else "categorical_cross_entropy",
        "batch_size": batch_size,
        "learning_rate": 8e-3 if rows >= _MANY else 6e-3,
        "flat": 0.0 if rows >= _MANY else 0.5,
        # While the rate is high a worse epoch says little. Every row of folds judges, so chance hides less.
        "patience": max(10, changes.get("epochs", epochs) // 3) if folds > 1 else 16,
        "epochs": epochs,
        "folds": folds,
    }
    return Recipe.changed("recipe", fields, changes)


def units_of(maker: str, task: str, rows: int, classes: int) -> int:
    """The outputs of a network for a task."""
    units = {"regression": 1, "binary": 2, "multiclass": classes}
    if task not in units or rows < 1:
        raise ConfigError(
            f"{maker}() was given the task {task!r} and {rows} rows; expected one of {', '.join(units)}, and a row or more"
        )
    return units[task]


def affordable(budget: float, model: Layer, shape: Any, rows: int) -> int:
    """The epochs over ``rows`` rows of a shape that fit in this many floating-point operations, backward passes included."""
    return int(budget / (3 * (model.flops(shape) or 1) * rows))


def epochs_of(steps: int, rows: int, batch_size: int) -> int:
    """The epochs that this many updates take.

    >>> epochs_of(300, 1000, 256)
    75
    """
    return math.ceil(steps / math.ceil(rows / batch_size))
