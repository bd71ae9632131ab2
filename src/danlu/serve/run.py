"""The running of a service: its socket, its signals, its worker processes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import ipaddress
import os
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from danlu.errors import ConfigError
from danlu.interrupt import graceful, hearing
from danlu.pipeline import load_model
from danlu.prose import wrapped
from danlu.serve.app import create_app
from danlu.serve.options import ServeOptions
from danlu.serve.service import Service

__all__ = ["Tls", "run"]

_SWITCH = 0.0005  # seconds that the thread that computes may keep the one that listens waiting
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclasses.dataclass(frozen=True)
class Tls:
    """Files for encrypted connections.

    Attributes:
        certificate, key: of the service, as PEM.
        client_ca: the authority that a caller's certificate has to be of (mutual TLS); None asks for none.
    """

    certificate: str
    key: str
    client_ca: str | None = None

    def check(self) -> None:
        """Refuse files that do not fit together.

        Raises:
            ConfigError: see above.
        """

        def locked() -> str:
            raise ConfigError(
                f"the key {self.key} is locked with a passphrase, which a service cannot type",
                hint=f"write it without one into a file that only you can read: openssl pkey -in {self.key} -out service.key",
            )

        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, self.key, locked)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
        except OSError as error:  # an SSLError is one
            files = ", ".join(filter(None, (self.certificate, self.key, self.client_ca)))
            raise ConfigError(
                f"the certificate cannot be used ({files}): {error.strerror or error}",
                hint="give PEM files that belong together",
            ) from error


def run(
    models: Mapping[str, str | Path],
    options: ServeOptions,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    canaries: Mapping[str, tuple[str | Path, float]] | None = None,
    allow: Sequence[str] = (),
    tls: Tls | None = None,
    anyone: bool = False,
) -> str:
    """Serve until a signal to stop, answer what was accepted, and return what stopped it, in words.

    Args:
        models, options, canaries, allow: see :func:`danlu.serve.create_app`.
        host: the address; other machines reach a service only where this is not a loopback one.
        port: 0 takes a free one.
        workers: processes. One that dies is replaced; its callers see a connection that closes.
        tls: files for encrypted connections.
        anyone: whether other machines may ask without a token or a certificate.

    Raises:
        ConfigError: an address that cannot be had, or one that other machines reach with nothing to say who may ask.
        DanluError: a model that cannot be loaded.
    """
    public = not _is_loopback(host)
    if public and options.token is None and (tls is None or tls.client_ca is None) and not anyone:
        raise ConfigError(
            f"other machines reach {host}, and nothing says who may ask",
            hint="give --token TOKEN (or the variable DANLU_SERVE_TOKEN), --client-ca FILE, or --anyone if everyone may",
        )
    if tls is not None:
        tls.check()
    if not public and not options.hosts:  # a page that names this address in its own domain is not asked from here
        options = dataclasses.replace(options, hosts=LOOPBACK)
    sys.setswitchinterval(_SWITCH)
    make = functools.partial(create_app, models, options, canaries=canaries, allow=allow)
    with _bound(host, port) as listening, graceful() as asked:
        place = f"{'https' if tls else 'http'}://{_shown(host)}:{listening.getsockname()[1]}"
        settings: dict[str, Any] = {
            "host": host,
            "port": port,
            "access_log": False,
            "log_level": "warning",
            "timeout_graceful_shutdown": int(options.timeout) + 1,
            "server_header": False,
            "proxy_headers": False,
            "lifespan": "on",
            "timeout_worker_healthcheck": 120,
        }
        if tls is not None:
            settings |= {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.key}
            if tls.client_ca is not None:
                settings |= {"ssl_ca_certs": tls.client_ca, "ssl_cert_reqs": int(ssl.CERT_REQUIRED)}
        if workers > 1:
            for place_of in (*models.values(), *(each for each, _ in (canaries or {}).values())):
                load_model(place_of, allow=allow)  # what cannot be loaded is said here, once
            with tempfile.TemporaryDirectory(prefix="danlu-metrics-") as counts:
                os.environ["PROMETHEUS_MULTIPROC_DIR"] = counts
                _announce(models, place, options)
                supervisor = Multiprocess(uvicorn.Config(make, factory=True, workers=workers, **settings), [listening])
                with hearing(
                    getattr(signal, "SIGHUP", 0), lambda: None
                ):  # the supervisor hears it: it renews its workers in turn
                    supervisor.run()
        else:
            app = make()
            server = _Server(
                uvicorn.Config(app, **settings), app.state.service, asked, lambda: _announce(models, place, options)
            )
            server.run(sockets=[listening])
    return "stopped; every request that was accepted has its answer"


class _Server(uvicorn.Server):
    """A server that stops when it is asked to, and takes new versions of its models at SIGHUP."""

    def __init__(self, config: uvicorn.Config, service: Service, asked: Any, began: Callable[[], None]) -> None:
        super().__init__(config)
        self._service, self._asked, self._began = service, asked, began

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._began()

    async def main_loop(self) -> None:
        loop, service = asyncio.get_running_loop(), self._service
        renewing: set[Any] = set()

        def renew() -> None:
            renewing.add(asyncio.run_coroutine_threadsafe(service.reload_all(), loop))

        with hearing(getattr(signal, "SIGHUP", 0), renew):
            await super().main_loop()

    async def on_tick(self, counter: int) -> bool:
        return bool(self._asked) or await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _announce(models: Mapping[str, Any], place: str, options: ServeOptions) -> None:
    names = ", ".join(map(repr, models))
    lines = [f"danlu: serving {names} at {place} (Ctrl-C stops)"]
    if options.log_inputs is not None:
        lines.append(
            f"note: every row that is asked and its answer are written to {options.log_inputs}; they may be personal data"
        )
    print("\n".join(map(wrapped, lines)), file=sys.stderr, flush=True)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@contextlib.contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"cannot serve at {host}:{port}: {why}", hint="choose another: --port 8001, or --port 0 for a free one"
        ) from error
    with listening:
        listening.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )  # asyncio leaves it to whoever made the socket: else 40 ms
        listening.set_inheritable(True)
        yield listening
