"""A recipe carried out by clients: the same network and rows as of any training, by rounds; and what it is compared with."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from danlu.engine import Callback, Fitted, LearningRateScheduler
from danlu.engine.arrays import as_arrays
from danlu.errors import ConfigError, MissingExtraError
from danlu.federated import Method, fit_clients, secure_sum
from danlu.federated.cells import cells_of, rows_of_cells
from danlu.federated.own import patterns_of, replaced
from danlu.optim import Optimizer, adamw, chain, clip_by_global_norm, sgd
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.owners import Federation, Owners
from danlu.privacy import default_delta
from danlu.tasks import Recipe, learn
from danlu.tasks.learn import lesson_of
from danlu.trained import HeldOut, Trained

__all__ = ["Rounds", "alone", "answers_of", "check_fits", "in_one_place", "personal", "recipe_of_clients", "rounds_of"]

_BATCH = 32  # rows of a client's step, where nothing else is said and the recipe's are more
_RATE = 0.05  # of plain gradient descent


@dataclasses.dataclass(frozen=True, eq=False)
class Rounds:
    """A recipe whose training is rounds of clients; of everything else it is the recipe.

    Attributes:
        recipe: the network, and how steps are made.
        asked: how the rounds go.
        owners: whose the training rows are.
        patience: rounds without a better validation loss after which to stop; None is never.
        own_rate: whether the rate is the user's.
    """

    recipe: Recipe
    asked: Federation
    owners: Owners
    patience: int | None = None
    own_rate: bool = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "recipe":
            raise AttributeError(name)
        return getattr(self.recipe, name)

    def initial(self, key: jax.Array, inputs: Any) -> tuple[Any, Any]:
        """As of the recipe, but what is set by quantiles goes by the clients' histograms."""
        return self.recipe.initial(key, inputs if self.owners.sample is None else self.owners.sample)

    def told(self, held: HeldOut | None, target: Any) -> HeldOut | None:
        """What a head is fitted to: the sum of the clients' counts in cells; of several classes the answers as they are."""
        own = self.owners.rows("validation")
        if held is None or target.task == "multiclass" or sum(rows.size for rows in own) != len(held):
            return held
        answers, truth = np.asarray(held.answers), np.asarray(held.truth)
        if target.task == "regression":
            answers = (answers - target.mean) / target.std
        counts = {
            number: cells_of(target.task, answers[rows], truth[rows]) for number, rows in enumerate(own) if rows.size
        }
        if self.asked.secure and len(counts) < 2:  # a sum of one is its counts
            return None
        if self.asked.secure:
            total = secure_sum({number: each.astype(np.uint64) for number, each in counts.items()})[0].astype(np.int64)
        else:
            total = np.sum(list(counts.values()), axis=0)
        weight, (found, true) = None, rows_of_cells(target.task, total)
        if target.task == "regression":
            found = found * target.std + target.mean
        elif held.weight is not None:  # of classes: one for each, and means over the clients' rows
            each = [held.weight[truth == code].mean() if (truth == code).any() else 0.0 for code in (0, 1)]
            weight = np.asarray(each)[true]
        return HeldOut(found, true, None, weight)

    @property
    def epochs(self) -> int:
        """The rounds."""
        return self.asked.rounds

    @property
    def named(self) -> str:
        """The name of the clients' optimizer."""
        return self.asked.optimizer or ("sgd" if self.asked.chosen.scaffold else "adamw")

    @property
    def rate(self) -> float:
        """The clients' rate in the first round."""
        return float(self.recipe.learning_rate) if self.own_rate or self.named == "adamw" else _RATE

    @property
    def optimizer(self) -> Optimizer:
        """Of the clients, begun anew in each round."""
        plan = self.recipe
        if self.named == "sgd":
            return sgd(self.rate)
        decayed = adamw(self.rate, beta2=plan.beta2, weight_decay=plan.weight_decay, mask=plan.decays)
        return chain(clip_by_global_norm(plan.clip_norm), decayed)

    def callbacks(self, rounds: int) -> list[Callback]:
        """What sets the clients' rate in each round."""
        if self.asked.schedule == "constant" or rounds < 2:
            return []
        return [LearningRateScheduler(lambda number, _: self.rate * (1 + math.cos(math.pi * number / rounds)) / 2)]

    def fit(self, data: Any, *, rows: int, seed: int = 0, callbacks: Sequence[Callback] = (), **how: Any) -> Fitted:
        """Train the network by rounds; arguments as of :meth:`Recipe.fit <danlu.tasks.Recipe.fit>`."""
        asked = self.asked
        settings = {
            "rounds": asked.rounds,
            "clients_per_round": asked.per_round,
            "local_epochs": asked.local_epochs,
            "local_steps": asked.local_steps,
            "method": asked.chosen,
            "private": asked.private,
            "secure": asked.secure,
            "lost": asked.lost,
            "patience": None if how.get("validation") is None else self.patience,
            "average": self.recipe.average,
            "average_decay": self.recipe.average_decay,
            "average_start": self.recipe.average_start,
        }
        found = self._fit(data, seed=seed, callbacks=[*callbacks, *self.callbacks(asked.rounds)], **{**settings, **how})
        return self._with_versions(found) if asked.own else found

    def _with_versions(self, fitted: Fitted) -> Fitted:
        """The network with the mean of what stays with clients, for one that is new; and each client's own, in ``owners``."""
        shared = fitted.params, fitted.state
        own = patterns_of(self.asked.own, *shared)
        state: Any = fitted.train_state
        leaves = [np.asarray(leaf) for leaf in state.world["clients"]["own"]]
        versions = [
            replaced(shared, own, [leaf[number] for leaf in leaves]) for number in range(len(self.owners.names))
        ]
        self.owners.versions[:] = versions
        shares = self.owners.sizes / self.owners.sizes.sum()
        means = [np.tensordot(shares, leaf, 1).astype(leaf.dtype) for leaf in leaves]
        params, model_state = replaced(shared, own, means)
        return dataclasses.replace(fitted, params=params, state=model_state)

    def spent(self, rounds: int, *, ended: bool = True) -> str:
        """What so many rounds tell of a client, in a sentence; empty where nothing hides clients.

        Args:
            ended: whether the training has; else its checkpoints hold the secret of the noise.
        """
        private, clients = self.asked.private, len(self.owners.names)
        if private is None:
            return ""
        ledger = private.ledger(rounds, clients=clients, per_round=self.asked.per_round or clients)
        delta = default_delta(clients)
        try:
            told = f"epsilon {ledger.epsilon(delta):.3g} at delta {delta:.2g}"
        except MissingExtraError as error:
            told = f"epsilon is not known: {error.message}"
        said = f"privacy of each client in {rounds} rounds: {told}; statistics of columns before them are not counted"
        return (
            said if ended else f"{said}; the folder of checkpoints holds the secret of the noise: keep it to yourself"
        )

    def _fit(self, data: Any, **how: Any) -> Fitted:
        plan = self.recipe
        settings = {
            "loss": plan.loss,
            "optimizer": self.optimizer,
            "gradient": plan.private,
            "augment": plan.augment,
            "batch_size": plan.batch_size,
            "precision": plan.precision,
            "devices": plan.devices,
            "together": self.asked.together,
            "names": self.owners.names,
        }
        return fit_clients(plan.model, as_arrays(data), self.owners.rows("train"), **{**settings, **how})

    def apart(self, config: TrainConfig, prepared: Any, *, epochs: int, initial: Any) -> Iterator[tuple[Any, Any]]:
        """What each client learns by itself, beginning with ``initial``: everything stays with it, and nothing is averaged."""
        data, _, lesson = lesson_of(
            prepared.train, target=prepared.target, plan=self.recipe, imbalance=config.imbalance
        )
        fitted = self._fit(
            data,
            rounds=1,
            local_epochs=epochs,
            method=Method(own=("*",), remember=True),
            initial=initial,
            loss=lesson["loss"],
            seed=config.trainer.seed,
            display="none",
        )
        form = jax.tree.structure((fitted.params, fitted.state))
        leaves = [np.asarray(leaf) for leaf in fitted.train_state.world["clients"]["own"]]
        for number in range(len(self.owners.names)):
            yield jax.tree.unflatten(form, [leaf[number] for leaf in leaves])


def rounds_of(config: TrainConfig, plan: Recipe, owners: Owners | None) -> Any:
    """The plan as one of rounds, where there are clients."""
    asked = config.federated
    if owners is None:
        return plan
    check_fits(config)
    plan = recipe_of_clients(config, plan)
    if asked.per_round is not None and asked.per_round > len(owners.names):
        raise ConfigError(
            f"federated.per_round is {asked.per_round}; expected at most the number of clients, {len(owners.names)}"
        )
    rate = config.trainer.learning_rate is not None
    return Rounds(plan, asked, owners, config.trainer.patience, own_rate=rate)


def recipe_of_clients(config: TrainConfig, plan: Recipe) -> Recipe:
    """The recipe with batches of the size of a client's rows, where no other is asked for."""
    if config.trainer.batch_size is None and plan.batch_size > _BATCH:
        return plan.replace(batch_size=_BATCH - _BATCH % plan.devices)
    return plan


def check_fits(config: TrainConfig) -> None:
    """Refuse what cannot be together with clients.

    Raises:
        ConfigError: see above.
    """
    wrong = {
        "model.kind": config.model.kind in ("blend", "scorecard"),
        "model.ensemble": config.model.ensemble is not None,
        "trainer.snapshots": config.trainer.snapshots is not None,
        "trainer.minutes": config.trainer.minutes is not None,
        "imbalance.resample": config.imbalance.resample != "none",
        "split.folds": (config.split.folds or 1) > 1,
        "evaluate.folds": config.evaluate.folds is not None,
        "fairness.mitigate": config.fairness.mitigate in ("penalty", "reweigh"),
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise ConfigError(
                f"{name} is {config.setting(name)}, which is not for clients: they train one network together, on rows that stay apart",
                hint="leave it out",
            )


def in_one_place(config: TrainConfig, prepared: Any, plan: Rounds) -> Trained:
    """The same network trained on all rows in one place, as if nobody minded."""
    learned = learn(
        prepared.train,
        encoder=prepared.encoder,
        target=prepared.target,
        plan=plan.recipe,
        validation=prepared.validation,
        imbalance=config.imbalance,
        answers=config.answers,
        kind="network",
        seed=config.trainer.seed,
        display="none",
    )
    return learned.model


def alone(config: TrainConfig, prepared: Any, plan: Rounds, trained: Trained) -> Any:
    """The answers for the test rows by a network that the client of each trained alone, for as long as in the rounds."""
    asked, own = plan.asked, plan.owners
    taken = asked.rounds * (asked.per_round or len(own.names)) / len(own.names)
    epochs = max(1, round(taken * asked.local_epochs))
    key = jax.random.key(config.trainer.seed)
    initial = plan.initial(key, prepared.train[0])
    return answers_of(prepared, trained, plan.apart(config, prepared, epochs=epochs, initial=initial), own)


def personal(config: TrainConfig, prepared: Any, plan: Rounds, trained: Trained) -> tuple[Any, list[tuple[Any, Any]]]:
    """The answers for the test rows by the shared model that the client of each trained further, and each client's variables."""
    begun = (trained.params, trained.state)
    found = list(plan.apart(config, prepared, epochs=plan.asked.personal_epochs, initial=begun))
    return answers_of(prepared, trained, found, plan.owners), found


def answers_of(prepared: Any, trained: Trained, models: Any, owners: Owners) -> np.ndarray:
    """The answers for the test rows, each by its client's variables; a row of no client that learnt has the shared model's."""
    inputs = prepared.test[0]
    answers = np.array(trained.answer(inputs))
    for rows, (params, state) in zip(owners.rows("test"), models, strict=True):
        if rows.size:
            part = jax.tree.map(lambda leaf, rows=rows: leaf[rows], inputs)
            answers[rows] = dataclasses.replace(trained, params=params, state=state).answer(part)
    return answers
