"""Owners in processes of their own, through Flower: what crosses the wire, an owner's death and return, certificates, and mistakes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from danlu.errors import ConfigError, MissingExtraError
from danlu.federated import flower
from danlu.federated.certificates import authority_of, read_certificates, why_not_trusted

pytestmark = pytest.mark.slow
ROUNDS = 4


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A command of danlu, whose lines are read as they come."""

    def __init__(self, *arguments: object, folder: Path) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "danlu", "federate", *map(str, arguments)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "DANLU_LANGUAGE": "en", "COLUMNS": "200"},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self.lines.append(line)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()

    @property
    def text(self) -> str:
        return " ".join("".join(self.lines).split())

    def until(self, text: str, seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.text}"
            assert self.process.poll() is None or text in self.text, f"ended without {text!r}:\n{self.text}"
            time.sleep(0.05)

    def ended(self, seconds: float = 240) -> int:
        code = self.process.wait(seconds)
        self._reader.join(10)
        return code


class Recorder:
    """A proxy that keeps all bytes which clients send through it."""

    def __init__(self, to: int) -> None:
        self.sent = bytearray()
        self.port, self.to = free_port(), to
        self._socket = socket.create_server(("127.0.0.1", self.port))
        self._open = [self._socket]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                inward, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(inward)
            try:
                outward = socket.create_connection(("127.0.0.1", self.to))
            except OSError:  # no server is there yet: the client tries again
                inward.close()
                continue
            self._open.append(outward)
            threading.Thread(target=self._pass, args=(inward, outward, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(outward, inward, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, kept: bool) -> None:
        while True:
            try:
                data = source.recv(65536)
                if kept:
                    self.sent += data
                target.sendall(data)
            except OSError:
                data = b""
            if not data:
                for end in (source, target):
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                return


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("north", "south", "west")):
        draw = np.random.default_rng(number)
        age, colour = draw.normal(50, 10, 60), draw.choice(["red", "green", "blue"], 60)
        notes = [f"patient {name} {draw.integers(10**9)} walks again" for _ in range(60)]
        y = np.where(age / 10 - 5 + (colour == "red") + draw.normal(size=60) > 0, "yes", "no")
        pl.DataFrame({"age": age, "colour": colour, "note": notes, "y": y}).write_csv(tmp_path / f"{name}.csv")
    return tmp_path


@pytest.fixture
def wire() -> Iterator[Recorder]:
    with Recorder(free_port()) as recorder:
        yield recorder


@pytest.fixture
def started() -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for each in processes:
        each.close()


SMALL = ("model.width=8", "model.members=1", "model.depth=1", "evaluate.report=false")


def test_rows_stay_and_an_owner_dies_and_comes_back(folder: Path, wire: Recorder, started: list[Process]) -> None:
    """Three owners; one is killed in the rounds and started again. The bytes that they send hold no value and no text of a row."""
    pytest.importorskip("flwr")
    port = wire.to
    server = Process(
        "--server", f"127.0.0.1:{port}", "--target", "y", "--owners", 3, "--rounds", ROUNDS, "--threshold", 3, "--name", "run",
        "--local-epochs", 2, "--wait", 240, *SMALL, folder=folder,
    )  # fmt: skip
    started.append(server)

    def owner(name: str) -> Process:
        found = Process("--client", f"{name}.csv", "--server", f"127.0.0.1:{wire.port}", "--wait", 120, folder=folder)
        started.append(found)
        return found

    owners = {name: owner(name) for name in ("north", "south", "west")}
    server.until("round 1 of 4: 3 owners")
    owners["south"].process.send_signal(signal.SIGKILL)
    server.until("the owner south is lost")
    owners["south"] = owner("south")
    assert server.ended() == 0, server.text
    assert "the owner south is back" in server.text
    for each in owners.values():
        assert each.ended() == 0, each.text
        assert "4 rounds are over; the server has the model" in each.text

    run = folder / "runs" / "run"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["clients"] for row in rows] == [3] * ROUNDS
    results = json.loads((run / "results.json").read_text())
    assert results["rows"] == {"train": 117, "validation": 27, "test": 36}
    assert {"accuracy", "log_loss"} <= set(results["test"])

    sent = bytes(wire.sent)
    assert b"green" in sent  # names of levels leave, and so do those of columns
    assert b"age" in sent
    for name in ("north", "south", "west"):
        frame = pl.read_csv(folder / f"{name}.csv")
        for value in frame["age"].to_list():
            assert np.float64(value).tobytes() not in sent
            assert np.float32(value).tobytes() not in sent
            assert str(value).encode() not in sent
        assert not any(note.encode() in sent for note in frame["note"])
    assert b"walks again" not in sent


def test_encrypted_and_masked_it_is_the_same_model(folder: Path, started: list[Process]) -> None:
    """TLS with a certificate of one's own, secure sums, the same seed: the open run's model up to the rounding of fixed-point numbers."""
    pytest.importorskip("flwr")
    import danlu

    certificate = _certificate(folder)
    for name, server_side, client_side in (
        ("open", (), ()),
        ("closed", ("--secure", *certificate), ("--secure", "--tls-ca", folder / "cert.pem")),
    ):
        port = free_port()
        common = ("--target", "y", "--owners", 2, "--rounds", 2, "--name", name, "--wait", 240, *SMALL)
        server = Process("--server", f"localhost:{port}", *common, *server_side, folder=folder)
        started.append(server)
        owners = [
            Process(
                "--client", f"{each}.csv", "--server", f"localhost:{port}", "--wait", 120, *client_side, folder=folder
            )
            for each in ("north", "south")
        ]
        started += owners
        assert server.ended() == 0, server.text
        assert [each.ended() for each in owners] == [0, 0]
    one, other = (danlu.load(folder / "runs" / name / "artifact") for name in ("open", "closed"))
    rows = pl.read_csv(folder / "west.csv")
    np.testing.assert_allclose(
        one.predict(rows)["probability yes"].to_numpy(), other.predict(rows)["probability yes"].to_numpy(), atol=1e-3
    )


def _certificate(folder: Path) -> tuple[str, Path, str, Path]:
    """A certificate of localhost that signs itself."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    signed = builder.sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return ("--tls-cert", folder / "cert.pem", "--tls-key", folder / "key.pem")


def test_owners_that_do_not_fit_are_told_why(folder: Path, started: list[Process]) -> None:
    """An unequal schema ends it for all, each told which owner and which column."""
    pytest.importorskip("flwr")
    pl.read_csv(folder / "south.csv").rename({"age": "years"}).write_csv(folder / "south.csv")
    port = free_port()
    server = Process(
        "--server", f"127.0.0.1:{port}", "--target", "y", "--owners", 2, "--wait", 120, *SMALL, folder=folder
    )
    owners = [
        Process("--client", f"{name}.csv", "--server", f"127.0.0.1:{port}", "--wait", 120, folder=folder)
        for name in ("north", "south")
    ]
    started += [server, *owners]
    for each in (server, *owners):
        assert each.ended() != 0
        assert "the owner north has the column 'age', and south has none of that name" in each.text
        assert "Traceback" not in each.text
    assert not (folder / "runs").exists()


def test_no_server_and_too_few_owners_are_said(folder: Path, started: list[Process]) -> None:
    pytest.importorskip("flwr")
    lonely = Process("--client", "north.csv", "--server", f"127.0.0.1:{free_port()}", "--wait", 2, folder=folder)
    waiting = Process(
        "--server", f"127.0.0.1:{free_port()}", "--target", "y", "--owners", 2, "--wait", 1, folder=folder
    )
    started += [lonely, waiting]
    assert lonely.ended() == 1
    assert "no server of danlu's answers at 127.0.0.1:" in lonely.text
    assert waiting.ended() == 1
    assert "0 of 2 owners came within 1 s" in waiting.text
    assert "Traceback" not in lonely.text + waiting.text


def test_certificates_that_do_not_do_are_said(folder: Path) -> None:
    """Before anything is opened with them: gRPC's words name none."""
    _, cert, _, key = _certificate(folder)
    read_certificates((cert, cert, key))
    cert.rename(folder / "before.pem")
    _, cert, _, key = _certificate(folder)
    with pytest.raises(ConfigError, match=r"the private key .*key.pem is not of the certificate .*before.pem"):
        read_certificates((folder / "before.pem", folder / "before.pem", key))
    with pytest.raises(ConfigError, match="cannot read the certificate or key none: No such file"):
        read_certificates((cert, cert, Path("none")))
    with pytest.raises(ConfigError, match=r"cert.pem and .*north.csv are no certificate and private key"):
        read_certificates((cert, cert, folder / "north.csv"))
    with pytest.raises(ConfigError, match=r"north.csv holds no certificate"):
        authority_of(folder / "north.csv")
    handshake = (
        "Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:"
    )
    assert "is not signed by the one of --tls-ca, or out of date: self signed certificate" in why_not_trusted(
        f"{handshake}CERTIFICATE_VERIFY_FAILED: self signed certificate: OK"
    )
    assert "another name" in why_not_trusted("UNAUTHENTICATED: Hostname Verification Check failed.")
    assert why_not_trusted("Connection refused") == ""


def test_mistakes_that_need_no_flower(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"the address is '8080'; expected HOST:PORT"):
        flower.address_of("8080")
    monkeypatch.setitem(sys.modules, "flwr", None)
    with pytest.raises(MissingExtraError, match="needs Flower"), flower.serving("127.0.0.1:1", print):
        pass
