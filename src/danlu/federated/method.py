"""The methods of federated learning: what clients do besides their steps, and what the server makes of the mean change."""

from __future__ import annotations

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError, unknown_name
from danlu.optim import Optimizer, adagrad, adam, sgd, yogi

__all__ = ["METHODS", "Method"]

METHODS = ("fedavg", "fedprox", "fedadam", "fedyogi", "fedadagrad", "scaffold", "fedrep")
"""The methods by name."""


class Method(Blueprint):
    """A method of federated learning.

    Args:
        name: ``"fedavg"``, the mean of what clients learnt; ``"fedprox"``, whose clients are pulled towards where the round began;
            ``"fedadam"``, ``"fedyogi"`` and ``"fedadagrad"``, whose server takes the mean change for a gradient; ``"scaffold"``, whose
            clients correct their gradients for what the others' are like; ``"fedrep"``, whose clients train in all local epochs but the
            last the part that stays with them, and in the last one the part that all share.
        proximal: μ of the pull, of ``"fedprox"``; None is 0.01.
        server_rate: the learning rate of the server; None is 1 for a mean, 0.03 for an adaptive server.
        equal: whether all clients count alike, and not by their rows.
        own: patterns of parameters and state that stay with each client, such as ``("4",)`` for layer 4; or ``"head"``, the last
            layer (FedPer), and ``"norms"``, each batch norm (FedBN). See :mod:`danlu.federated.own`.
        remember: whether a client's optimizer goes on in its next round where it was.
        tau: ε of an adaptive server: how much it evens the coordinates out (τ of Reddi et al.).

    References:
        McMahan et al. (2017); Li et al. (2020); Karimireddy et al. (2020); Reddi et al. (2021), Adaptive federated optimization,
        algorithm 2; Arivazhagan et al. (2019), Federated learning with personalization layers; Li et al. (2021), FedBN: federated
        learning on non-IID features via local batch normalization; Collins et al. (2021), Exploiting shared representations for
        personalized federated learning, algorithm 1 (whose clients are those of a round, each with its own optimizer's steps).
    """

    name: str = setting(default="fedavg", choices=METHODS)
    proximal: float | None = setting(default=None, above=0, optional=True)
    server_rate: float | None = setting(default=None, above=0, optional=True)
    equal: bool = False
    own: tuple[str, ...] = ()
    remember: bool = False
    tau: float = setting(default=1e-3, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.proximal is not None and self.name != "fedprox":
            raise ConfigError(
                f"Method.proximal is {self.proximal} and the method is {self.name!r}; the pull is fedprox's",
                hint="Method('fedprox', proximal=0.01)",
            )
        if self.name == "fedrep" and not self.own:
            raise ConfigError(
                "the method is 'fedrep', which trains in turn what a client keeps and what all share, and own names nothing",
                hint="Method('fedrep', own=('head',)); at the command line --own head",
            )
        if self.tau != Method.tau and self.name not in _ADAPTIVE:
            raise ConfigError(
                f"Method.tau is {self.tau} and the method is {self.name!r}; it is for {', '.join(_ADAPTIVE)}"
            )

    @classmethod
    def of(cls, given: str | Method) -> Method:
        """The method of a name, or as it is.

        Raises:
            ConfigError: an unknown name.
        """
        if isinstance(given, Method):
            return given
        if given not in METHODS:
            raise unknown_name("method of federated learning", str(given), METHODS)
        return cls(given)

    @property
    def mu(self) -> float:
        """μ of the pull; 0 without one."""
        return 0.0 if self.name != "fedprox" else 0.01 if self.proximal is None else self.proximal

    def check_epochs(self, epochs: int, steps: int | None) -> None:
        """Refuse rounds that have no epoch for each of two parts.

        Raises:
            ConfigError: see above.
        """
        if self.name == "fedrep" and (steps is not None or epochs < 2):
            given = f"local_steps is {steps}" if steps is not None else f"local_epochs is {epochs}"
            raise ConfigError(
                f"{given}, and fedrep trains what a client keeps in all local epochs but the last, and in that what all share; expected "
                "local_epochs of 2 or more",
                hint="local_epochs=5",
            )

    @property
    def scaffold(self) -> bool:
        """Whether clients have control variates."""
        return self.name == "scaffold"

    def optimizer(self) -> Optimizer | None:
        """The server's optimizer; None adds the mean change as it is."""
        if self.name in _ADAPTIVE:
            return _ADAPTIVE[self.name](_SERVER_RATE if self.server_rate is None else self.server_rate, self.tau)
        return None if self.server_rate in (None, 1.0) else sgd(self.server_rate)


_SERVER_RATE = 0.03
_ADAPTIVE = {
    "fedadam": lambda rate, tau: adam(rate, beta2=0.99, epsilon=tau),
    "fedyogi": lambda rate, tau: yogi(rate, beta2=0.99, epsilon=tau),
    "fedadagrad": lambda rate, tau: adagrad(rate, initial_accumulator=tau**2, epsilon=tau),
}  # as Reddi et al. have them, but with Adam's bias corrections
