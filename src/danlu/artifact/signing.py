"""Signatures of saved models: who says that a model is what it is.

What is signed is ``model.json``, which holds the SHA-256 of every other file that is read. The signature stands beside it as
``model.json.sig`` in OpenSSH's format, made and checked by ``ssh-keygen``: keys may have a passphrase, be in an agent or on a security
key, and anyone can check a model without danlu.

Reference: OpenSSH, PROTOCOL.sshsig; ssh-keygen(1), ``-Y sign`` and ``-Y verify``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from danlu.artifact.artifact import MODEL_FILE
from danlu.artifact.files import read_bytes
from danlu.errors import ArtifactError, ConfigError, MissingExtraError, UntrustedError
from danlu.files import write_atomic

__all__ = ["SIGNATURE", "TRUSTED", "check_signature", "sign"]

SIGNATURE = f"{MODEL_FILE}.sig"
TRUSTED = "DANLU_TRUSTED"
"""The environment variable that names the trusted keys: then no model loads without a signature by one of them."""

_FOR = "danlu"  # what a signature is for: one for a letter or a commit does not do
_KEY = re.compile(r"((?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+) ([A-Za-z0-9+/]{16,}={0,3})(?:\s.*)?")
_MOST = 2**16  # bytes of a signature or a file of keys
_SIGNER = re.compile(r"SHA256:\S+")


def sign(folder: Path, key: str | os.PathLike[str]) -> str:
    """Sign a saved model, and return the fingerprint of the key.

    Args:
        folder: of the saved model.
        key: the file of a private key of OpenSSH's, such as ``~/.ssh/id_ed25519``; or of a public one whose other half an agent has.

    Raises:
        ConfigError: a file that is no key, or one that cannot be used.
        MissingExtraError: there is no ssh-keygen.
    """
    place = Path(key).expanduser()
    if not place.is_file():
        raise ConfigError(f"there is no key {place}", hint="ssh-keygen -t ed25519 -f KEY makes one")
    data = read_bytes(folder / MODEL_FILE)
    found = _asked("sign", "-f", str(place), given=data)
    if found.returncode or not found.stdout.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        raise ConfigError(
            f"{place} cannot sign: {_said(found)}",
            hint="expected a private key of OpenSSH's: ssh-keygen -t ed25519 -f KEY makes one",
        )
    write_atomic(folder / SIGNATURE, found.stdout)
    return _signer(data, found.stdout)


def check_signature(folder: Path, trusted: str | os.PathLike[str], data: bytes | None = None) -> str:
    """Refuse a model that no trusted key has signed; return the fingerprint of the one that has.

    Args:
        folder: where the model is.
        trusted: public keys, one a line: a file of them, such as ``id_ed25519.pub``, or their text.
        data: its ``model.json``, as it was read; None reads it.

    Raises:
        UntrustedError: it is not signed, was changed afterwards, or was signed by another key.
        ConfigError: what is to be trusted is no key.
        MissingExtraError: there is no ssh-keygen.
    """
    keys = _keys(trusted)
    data = read_bytes(folder / MODEL_FILE) if data is None else data
    place = folder / SIGNATURE
    if not os.path.lexists(place):
        raise UntrustedError(
            f"{folder} is not signed; a signature by a trusted key is expected",
            hint="who trusts it signs it: danlu sign RUN --key KEY",
        )
    try:
        signature = read_bytes(place, limit=_MOST)
    except ArtifactError as error:
        raise UntrustedError(error.message) from error
    with tempfile.TemporaryDirectory() as temporary:
        allowed = Path(temporary, "allowed")
        allowed.write_text("".join(f'* namespaces="{_FOR}" {kind} {body}\n' for kind, body in keys), encoding="ascii")
        proof = Path(temporary, "signature")
        proof.write_bytes(signature)
        found = _asked("verify", "-f", str(allowed), "-I", _FOR, "-s", str(proof), given=data)
    signer = _signer(data, signature)
    if found.returncode == 0 and signer:
        return signer
    if signer:
        raise UntrustedError(
            f"{folder} is signed by the key {signer}, which is not trusted",
            hint="trust its public key too, if you know whose it is",
        )
    raise UntrustedError(
        f"the signature of {folder} does not fit its {MODEL_FILE}: the model was changed after it was signed",
        hint="copy the whole folder again from where it was signed",
    )


def _signer(data: bytes, signature: bytes) -> str:
    """The fingerprint of the key that signed this data; empty where the signature does not fit it."""
    with tempfile.TemporaryDirectory() as temporary:
        proof = Path(temporary, "signature")
        proof.write_bytes(signature)
        found = _asked("check-novalidate", "-s", str(proof), given=data)
    name = _SIGNER.search(found.stdout.decode(errors="replace"))
    return "" if found.returncode or name is None else name[0]


def _keys(trusted: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """The public keys that are trusted, each its kind and its body."""
    text = os.fspath(trusted)
    if not _KEY.match(text.strip()):
        place = Path(text).expanduser()
        if not place.is_file():
            raise ConfigError(
                f"the trusted key {str(text)[:60]!r} is neither a file nor a public key",
                hint="expected a file such as id_ed25519.pub",
            )
        try:
            text = read_bytes(place, limit=_MOST).decode("ascii")
        except UnicodeDecodeError:
            text = ""
        except ArtifactError as error:
            raise ConfigError(error.message) from error
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found = [_KEY.fullmatch(line) for line in lines]
    if not lines or None in found:
        raise ConfigError(
            f"{str(trusted)[:60]} is not a file of public keys",
            hint="expected lines such as 'ssh-ed25519 AAAA… name': KEY.pub, which ssh-keygen writes beside the private key",
        )
    return [(each[1], each[2]) for each in found if each is not None]


def _asked(verb: str, *words: str, given: bytes) -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise MissingExtraError(
            "signatures need ssh-keygen, which is not installed",
            hint="it comes with OpenSSH (Debian: apt-get install openssh-client)",
        )
    return subprocess.run([program, "-Y", verb, "-n", _FOR, *words], input=given, capture_output=True, check=False)


def _said(found: subprocess.CompletedProcess[bytes]) -> str:
    lines = [line for line in found.stderr.decode(errors="replace").splitlines() if line.strip() and "@@@" not in line]
    return lines[-1].strip()[:160] if lines else "ssh-keygen failed"
