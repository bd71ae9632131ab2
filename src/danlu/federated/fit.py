"""``fit_clients``: one network trained by many clients, none of which gives its rows away."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from danlu.engine import FitOptions, Fitted, TrainState, train
from danlu.engine.arrays import as_arrays
from danlu.engine.build import build_program, optimizer_of
from danlu.engine.callback import Callback
from danlu.engine.fitted import evaluate_source, evaluation_pieces
from danlu.engine.initial import initial_state
from danlu.engine.mesh import need_devices
from danlu.engine.per_example import PerExample
from danlu.engine.poisson import Secret, secret_beside
from danlu.engine.settled import settled
from danlu.engine.state import owned
from danlu.engine.targets import TargetCheck
from danlu.errors import ConfigError
from danlu.federated.drift import PROXIMAL, Drift
from danlu.federated.masked import check_lost
from danlu.federated.method import Method
from danlu.federated.own import patterns_of
from danlu.federated.private import Private
from danlu.federated.program import Federated
from danlu.federated.rounds import RoundSource
from danlu.federated.rows import room_of_rows
from danlu.optim import Optimizer, by_part
from danlu.optim.sgd import SGDState
from danlu.paths import leaf_paths

__all__ = ["fit_clients", "program_of"]


def program_of(
    model: Any,
    source: RoundSource,
    *,
    loss: Any,
    optimizer: Any,
    method: Method,
    metrics: Any = (),
    options: FitOptions,
    together: int = 1,
    private: Private | None = None,
    server: Optimizer | None = None,
    secure: bool = False,
    lost: float = 0.0,
    loss_weights: Mapping[str, float] | None = None,
    initial: tuple[Any, Any] | None = None,
    secret: Secret | None = None,
    **how: Any,
) -> tuple[Federated, TrainState]:
    """The program of rounds and the server's state before the first; arguments as of :func:`fit_clients`."""
    one = options.replace(devices=1)
    plain: Any = source
    method.check_epochs(source.local_epochs, source.local_steps)
    if method.name == "fedrep":
        optimizer = by_part(optimizer, {"*": 1.0})
    program = build_program(model, plain, loss=loss, optimizer=optimizer, metrics=metrics, options=one, **how)
    if method.mu or method.scaffold:
        drift = Drift(program.gradient, proximal=method.mu > 0, scaffold=method.scaffold)
        program = dataclasses.replace(program, gradient=drift)
    state = initial_state(
        program, plain, optimizer, seed=options.seed, options=one, initial=initial, loss_weights=loss_weights
    )
    if method.mu:
        state = dataclasses.replace(state, weights={**state.weights, PROXIMAL: jnp.asarray(method.mu, float)})
    if method.scaffold and not (isinstance(state.opt_state, SGDState) and np.ndim(state.opt_state.learning_rate) == 0):
        raise ConfigError(
            "SCAFFOLD computes a client's control variate from its steps, which must be those of plain gradient descent at one rate",
            hint="optimizer=danlu.optim.sgd(0.05) on the clients",
        )
    if private is not None:
        _check_private(method, state)
    check_lost(lost, source.per_round, secure=secure)
    federated = Federated(
        program,
        clients=source.width,
        population=len(source.clients),
        batches=source.batches,
        even=source.even,
        together=together,
        devices=options.devices,
        server=None if server is None else server.update,
        scaffold=method.scaffold,
        own=patterns_of(method.own, state.params, state.model_state),
        turns=source.local_epochs if method.name == "fedrep" else 1,
        remember=method.remember,
        private="" if private is None else "client" if private.local else "server",
        expected=float(source.per_round),
        secure=secure,
        lost=lost,
        rows=source.rows_per_round,
    )
    begun: TrainState = owned(federated.begin(state, server, private, seed=options.seed, secret=secret))
    return federated, begun


def fit_clients(
    model: Any,
    data: Any,
    clients: Sequence[np.ndarray],
    *,
    loss: Any,
    rounds: int = 10,
    clients_per_round: int | None = None,
    local_epochs: int = 1,
    local_steps: int | None = None,
    method: str | Method = "fedavg",
    optimizer: Any = "sgd",
    server: Optimizer | None = None,
    metrics: Any = (),
    validation: Any = None,
    together: int = 1,
    private: Private | None = None,
    secure: bool = False,
    lost: float = 0.0,
    gradient: PerExample | None = None,
    augment: Any = None,
    loss_weights: Mapping[str, float] | None = None,
    initial: tuple[Any, Any] | None = None,
    callbacks: Sequence[Callback] = (),
    options: FitOptions | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    names: Sequence[str] | None = None,
    **changes: Any,
) -> Fitted:
    """Train one network by rounds of clients: some of them train it on their own rows, and the server takes the mean of what they learnt.

    Args:
        model: a layer.
        data: ``(x, y)`` or ``(x, y, weight)``, the rows of all clients.
        clients: the numbers of each client's rows.
        loss, metrics: as of :func:`danlu.fit`.
        rounds: how many.
        clients_per_round: how many take part in each, drawn anew; None is all of them.
        local_epochs: how often a client goes through its rows in a round, or
        local_steps: how many steps it takes.
        method: a name (see :mod:`danlu.federated.method`), or a :class:`Method` with its settings.
        optimizer: of the clients, begun anew in each round; ``learning_rate`` sets the rate of one that is named.
        server: the server's optimizer instead of the method's own.
        validation: rows on which the shared network is judged after each round.
        together: how many clients are trained at once; the others wait, so that memory is bounded.
        private: hides each client, with all its rows (see :mod:`danlu.federated.private`); ``private.ledger`` says what it spends. No
            rows of clients may then choose the best round: ``validation`` is of public rows.
        secure: whether means are taken of masked vectors, as a server would that sees no client's (see :mod:`danlu.federated.secure`).
        lost: the share of a round's clients that fall silent before what they learnt arrives, drawn anew in each round.
        gradient: hides each row within its client (see :mod:`danlu.federated.rows`); ``batch_size`` is then its own.
        augment, loss_weights, initial: as of :func:`danlu.fit`.
        callbacks, options, checkpoint, resume, **changes: as of :func:`danlu.fit`; ``devices`` divides the clients of a round.
        names: of the clients, for messages.

    Returns:
        The shared network. Its history has a row for each round.

    Raises:
        ConfigError, DataError: what does not fit; one clear message.

    Example:
        >>> from danlu import nn
        >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
        >>> clients = np.split(np.arange(64), 4)
        >>> fitted = fit_clients(nn.Dense(1), (x, 3 * x[:, 0]), clients, loss="mse", rounds=60, learning_rate=0.1, display="none")
        >>> bool(abs(fitted.params["kernel"][0, 0] - 3) < 0.1), fitted.history[0]["clients"]
        (True, 4.0)
    """
    if "epochs" in changes:
        raise ConfigError("fit_clients received epochs; expected rounds, and local_epochs for the clients")
    rate = changes.pop("learning_rate", None)
    options, callbacks = settled("fit_clients", options, callbacks, {**changes, "epochs": rounds})
    need_devices(options.devices)
    chosen, secret = Method.of(method), None
    if gradient is not None:
        if private is not None:
            raise ConfigError(
                "fit_clients received private and gradient, which hide whole clients and the rows of each; expected one of them"
            )
        options = options.replace(batch_size=room_of_rows(gradient, [len(rows) for rows in clients], names))
    if gradient is not None or (private is not None and private.noise):
        secret, forgetting = secret_beside(None if checkpoint is None else Path(checkpoint), resume=resume)
        callbacks = [forgetting, *callbacks]
    source = RoundSource(
        data if isinstance(data, dict) else as_arrays(data),
        clients,
        batch_size=options.batch_size,
        per_round=clients_per_round,
        local_epochs=local_epochs,
        local_steps=local_steps,
        equal=chosen.equal,
        seed=options.seed,
        multiple=together * options.devices,
        poisson=private is not None and not private.local,
        names=names,
        expected=None if gradient is None else gradient.expected,
        secret=secret,
    )
    program, state = program_of(
        model,
        source,
        loss=loss,
        optimizer=optimizer_of(optimizer, rate),
        method=chosen,
        server=server or chosen.optimizer(),
        metrics=metrics,
        options=options,
        together=together,
        private=private,
        secure=secure,
        lost=lost,
        secret=secret,
        gradient=gradient,
        augment=augment,
        loss_weights=loss_weights,
        initial=initial,
    )
    fitted = train(
        program,
        source,
        state,
        measure=None if validation is None else _judged(program, state, validation),
        options=options,
        callbacks=callbacks,
        checkpoint=checkpoint,
        resume=resume,
    )
    return dataclasses.replace(fitted, program=program.program)


def _check_private(method: Method, state: TrainState) -> None:
    """Refuse what would send more of a client than its bounded change.

    Raises:
        ConfigError: control variates, or a layer whose statistics follow a client's rows.
    """
    if method.scaffold:
        raise ConfigError(
            "SCAFFOLD sends a control variate of each client, which is not bounded; expected another method with private clients",
            hint="method='fedprox' holds clients together too",
        )
    moving = [path for path in leaf_paths(state.model_state) if path.split("/")[-1] in ("mean", "variance")]
    if moving:
        raise ConfigError(
            f"the network's state {moving[0]} follows the rows of a client (batch norm), and would not be private",
            hint="nn.GroupNorm and nn.LayerNorm have no such state",
        )


def _judged(program: Federated, state: TrainState, validation: Any) -> Callable[[TrainState], dict[str, Any]]:
    one = program.program
    pieces = evaluation_pieces(validation, one, TargetCheck(one, variables=(state.params, state.model_state)))

    def measure(state: TrainState) -> dict[str, float]:
        return evaluate_source(one, *state.learnt, state.weights, pieces)

    return measure
