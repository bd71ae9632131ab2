"""``danlu federate`` with owners elsewhere: the server, or one owner."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from danlu.cli.train import spoken
from danlu.errors import ConfigError
from danlu.files import check_there

__all__ = ["Elsewhere"]


@dataclasses.dataclass(frozen=True)
class Elsewhere:
    """What is said of owners in processes of their own; each field is an option.

    Attributes:
        server: ``host:port`` to listen at, or with ``client`` to go to.
        client: a table to take part with.
    """

    server: str | None = None
    client: str | None = None
    owners: int | None = None
    secure: bool = False
    threshold: int | None = None
    wait: float | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None

    @property
    def given(self) -> list[str]:
        """The options that were given."""
        fields = dataclasses.asdict(self).items()
        return ["--" + name.replace("_", "-") for name, value in fields if value not in (None, False)]

    def check_simulated(self) -> None:
        """Refuse them where clients are simulated, whose sums may be secure as well."""
        given = [option for option in self.given if option != "--secure"]
        if given:
            raise ConfigError(
                f"{given[0]} is for owners in processes of their own, and there is no --server",
                hint="danlu federate --client DATA --server HOST:PORT"
                if given[0] in ("--client", "--tls-ca")
                else "danlu federate --server 0.0.0.0:8080 --target y --owners 3",
            )

    def join(self, name: str | None, others: bool) -> None:
        """Take part with a table of one's own."""
        from danlu.pipeline.remote import join_rounds

        for option in ("--owners", "--threshold", "--tls-cert", "--tls-key"):
            if option in self.given:
                raise ConfigError(
                    f"{option} is for the server; expected --client DATA --server HOST:PORT, --secure and --tls-ca"
                )
        if others:
            raise ConfigError(
                "an owner takes part with its data and a name; the server says what is trained",
                hint="danlu federate --client DATA --server HOST:PORT --name hospital-a",
            )
        check_there(str(self.client))
        said = join_rounds(
            str(self.client),
            str(self.server),
            name=name,
            secure=self.secure,
            wait=600.0 if self.wait is None else self.wait,
            authority=self.tls_ca,
            say=spoken,
        )
        spoken(said)

    def serve(self, values: dict[str, Any], *, runs: Path, name: str | None) -> None:
        """Be the server of owners."""
        from danlu import pipeline
        from danlu.pipeline.remote import serve_rounds

        if self.owners is None:
            raise ConfigError("it is not said how many owners there are", hint="--owners 3 waits for three")
        served = serve_rounds(
            pipeline.config_from(values),
            str(self.server),
            owners=self.owners,
            secure=self.secure,
            threshold=self.threshold,
            wait=600.0 if self.wait is None else self.wait,
            certificates=self._certificates(),
            root=runs,
            name=name,
            say=spoken,
        )
        parts = ", ".join(f"{count:,} {part}" for part, count in served.rows.items() if count)
        print(f"\n{parts} rows of {self.owners} owners\n")
        print("\n".join(served.said()))
        print(f"\nrun: {served.run.path}")

    def _certificates(self) -> tuple[Path, Path, Path] | None:
        if self.tls_cert is None and self.tls_key is None:
            if self.tls_ca is not None:
                raise ConfigError("--tls-ca alone does not encrypt a server; expected --tls-cert and --tls-key with it")
            return None
        if self.tls_cert is None or self.tls_key is None:
            raise ConfigError("a server that encrypts needs --tls-cert and --tls-key; one of them is missing")
        return (self.tls_ca or self.tls_cert, self.tls_cert, self.tls_key)
