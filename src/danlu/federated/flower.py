"""Flower carries the messages between a server and its owners (https://flower.ai).

:func:`serving` opens Flower's server of clients that stay connected (gRPC, one stream for each), and :func:`take_part` is a Flower client:
each of danlu's messages is the one tensor of a ``FitIns``, each answer that of a ``FitRes``. Flower keeps the connections, sees when one
breaks, and encrypts them where certificates are given.

Flower's newer way (a SuperLink, SuperNodes and apps that are sent to them) starts a process for each message, in which a network would be
compiled again, and sends the program along; here an owner runs the danlu that it installed itself, and keeps what it has compiled.
Flower's reports of use to its makers are switched off.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu import __version__
from danlu.errors import ConfigError, DanluError, MissingExtraError, TrainingError, first_line
from danlu.federated.certificates import Certificates, authority_of, read_certificates, why_not_trusted
from danlu.federated.real.messages import PROTOCOL, pack, unpack
from danlu.federated.real.owner import Owner

__all__ = ["Connections", "address_of", "serving", "take_part"]

_FORM = "danlu"
_HELLO = 15.0  # seconds in which an owner says who it is; it does so before it reads anything


def _flwr() -> None:
    """Load Flower, silent and without reports to its makers.

    Raises:
        MissingExtraError: it is not installed.
    """
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        for module in ("flwr.compat.client.app", "flwr.server.superlink.fleet.grpc_bidi.grpc_server"):
            importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"federated learning between processes needs Flower: {first_line(error)}",
            hint='pip install "danlu[federated]"',
        ) from error
    logging.getLogger("flwr").setLevel(logging.CRITICAL)


def address_of(address: str) -> str:
    """``host:port``, checked.

    Raises:
        ConfigError: it is none.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"the address is {address!r}; expected HOST:PORT, such as 127.0.0.1:8080")
    return address


class Connections:
    """Owners that are connected: a :class:`~danlu.federated.real.server.Link`.

    An owner is known by the name that it says when it comes. One of another version is sent away and told why. So is one of a name that is
    there, unless that one no longer answers: a machine that was cut off leaves a connection that looks alive for minutes, and its owner
    takes its own place again.

    Args:
        manager: Flower's, which knows the connections.
        seconds: an owner that takes longer to answer is lost.
    """

    def __init__(self, manager: Any, say: Callable[[str], None], seconds: float) -> None:
        self._manager, self._say, self._seconds = manager, say, seconds
        self._names: dict[str, str] = {}  # of each connection; empty of those that were sent away
        self._hello = min(seconds, _HELLO)
        self._lock = threading.Lock()

    def present(self) -> Sequence[str]:
        """The names of the owners that are there; one that came anew since the last look is missing once, so that it is told all anew."""
        with self._lock:
            there, before = dict(self._manager.all()), {name: key for key, name in self._names.items() if name}
            self._names = {key: name for key, name in self._names.items() if key in there}
            for key, proxy in there.items():
                if key not in self._names and (name := self._named(proxy, there)) is not None:
                    self._names[key] = name
            return [name for key, name in self._names.items() if name and before.get(name, key) == key]

    def ask(self, messages: Mapping[str, bytes]) -> dict[str, bytes]:
        """The answers to messages, by owner; those that are lost on the way have none."""
        with self._lock:
            there = dict(self._manager.all())
            proxies = {name: there[key] for key, name in self._names.items() if key in there}
        asked = {name: proxies[name] for name in messages if name in proxies}
        with concurrent.futures.ThreadPoolExecutor(max(1, len(asked))) as pool:
            answers = {name: pool.submit(_ask, proxy, messages[name], self._seconds) for name, proxy in asked.items()}
        return {name: found for name, answer in answers.items() if (found := answer.result()) is not None}

    def _named(self, proxy: Any, there: Mapping[str, Any]) -> str | None:
        """The name that an owner says; an empty one where it is sent away, None where it is gone again."""
        begun = time.monotonic()
        answer = _ask(proxy, pack({"ask": "hello"}), self._hello)
        if answer is None:
            if time.monotonic() - begun >= self._hello:
                self._say(f"note: a connection was closed, over which nobody said in {self._hello:g} s who it is")
            return None
        try:
            fields, _ = unpack(answer)
        except DanluError:
            fields = {}
        name, why = str(fields.get("name", "")), None
        if fields.get("protocol") != PROTOCOL:
            theirs, ours = f"danlu {fields.get('version', 'unknown')}", f"danlu {__version__}"
            why = f"this owner has {theirs} and the server {ours}, which do not understand each other; expected the same version"
        elif name in self._names.values() and not self._given_up(name, there):
            why = f"an owner of the name {name!r} is there already; expected a name for each: --name"
        if why is None:
            return name
        self._say(f"note: an owner was sent away: {why}")
        _ask(proxy, pack({"ask": "refused", "why": why}), self._seconds)
        return ""

    def _given_up(self, name: str, there: Mapping[str, Any]) -> bool:
        """Whether the owner of a name no longer answers over the connection that it had, which is then forgotten."""
        key = next(key for key, known in self._names.items() if known == name)
        if key in there and _ask(there[key], pack({"ask": "hello"}), self._hello) is not None:
            return False
        del self._names[key]
        self._say(f"note: the owner {name} came anew, and its old connection no longer answers")
        return True


@contextlib.contextmanager
def serving(
    address: str, say: Callable[[str], None], *, seconds: float = 600.0, certificates: Certificates | None = None
) -> Iterator[Connections]:
    """A server of owners at ``host:port``, as long as the context lasts.

    Args:
        seconds: an owner that takes longer to answer is lost.

    Raises:
        ConfigError: an address that cannot be had, or certificates that cannot be read.
    """
    _flwr()
    from flwr.server.client_manager import SimpleClientManager
    from flwr.server.superlink.fleet.grpc_bidi.grpc_server import start_grpc_server

    host, _, port = address_of(address).rpartition(":")
    _check_free(host.strip("[]"), int(port), address)
    manager = SimpleClientManager()
    read = None if certificates is None else read_certificates(certificates)
    try:
        server = start_grpc_server(client_manager=manager, server_address=address, certificates=read)
    except (SystemExit, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"cannot listen at {address}: {first_line(error)}", hint="another port, or an address of this machine"
        ) from None
    try:
        yield Connections(manager, say, seconds)
    finally:
        server.stop(grace=1).wait()


def take_part(owner: Owner, address: str, *, wait: float = 600.0, authority: Path | None = None) -> str:
    """Answer a server until it says that it is over; what it said last.

    Where the connection breaks it is tried again.

    Args:
        wait: seconds to try for.
        authority: the certificate, a PEM file, by which a server's is checked; None does not encrypt.

    Raises:
        TrainingError: no server of danlu's is there, or it sent the owner away.
    """
    _flwr()
    from flwr.compat.client.app import start_client_internal

    threading.excepthook = _quiet(threading.excepthook)
    root = None if authority is None else authority_of(authority)
    address_of(address)
    deadline, tried = time.monotonic() + wait, False
    while True:
        heard = threading.Event()
        try:
            start_client_internal(
                server_address=address,
                node_config={},
                client=_client(owner, heard),
                root_certificates=root,
                insecure=root is None,
            )
            reason = "it closed the connection"
        except StopIteration:
            reason = "it closed the connection"
        except (Exception, SystemExit) as error:
            reason = _reason(error)
        if owner.finished is not None:
            return owner.finished
        if owner.error is not None and owner.refused:
            raise owner.error
        if heard.is_set():
            deadline, tried = time.monotonic() + wait, False
        if time.monotonic() > deadline:
            raise TrainingError(
                f"no server of danlu's answers at {address}: {reason}",
                hint="is it started, is the address right, and do both sides encrypt or neither? --wait tries for longer",
            )
        if not tried:
            owner.say(f"no server at {address} yet ({reason}); trying for {wait:g} s")
            tried = True
        time.sleep(0.5)


def _client(owner: Owner, heard: threading.Event) -> Any:
    from flwr.common import Code, FitIns, FitRes, Parameters, Status
    from flwr.compat.client.client import Client

    class Answering(Client):
        """Flower's client of an owner."""

        def fit(self, ins: FitIns) -> FitRes:
            """The owner's answer to the message in a ``FitIns``."""
            heard.set()
            tensors = ins.parameters.tensors
            answer = owner.answer(tensors[0] if tensors else b"")
            return FitRes(Status(Code.OK, ""), Parameters([answer], _FORM), 0, {})

    return Answering()


def _ask(proxy: Any, message: bytes, seconds: float) -> bytes | None:
    """An owner's answer; None where the connection broke."""
    from flwr.common import FitIns, Parameters

    try:
        found = proxy.fit(FitIns(Parameters([message], _FORM), {}), timeout=seconds, group_id=None)
        return bytes(found.parameters.tensors[0])
    except Exception:  # Flower raises what it likes where a stream ends
        return None


def _check_free(host: str, port: int, address: str) -> None:
    try:
        with contextlib.closing(
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        ):
            pass
    except OSError as error:
        raise ConfigError(
            f"cannot listen at {address}: {error.strerror or error}", hint="another port, or an address of this machine"
        ) from None


def _quiet(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A hook of threads without gRPC's own, one of which fails where Flower closes the channel that it watches."""

    def told(failed: Any) -> None:
        if not (failed.exc_type is ValueError and "monitor" in str(failed.exc_value)):
            hook(failed)

    return told


def _reason(error: BaseException) -> str:
    details = getattr(error, "details", None)
    said = details() if callable(details) else None
    told = (str(said).splitlines() or [""])[0] if said else first_line(error, 300)
    trusted = why_not_trusted(told)
    return trusted or told.rpartition(": ")[2][:120] or told[:120]  # what stands before it is gRPC's way to the fault
