"""The certificates of a server and its owners: read, and checked before anything is opened with them."""

from __future__ import annotations

import ssl
from pathlib import Path

from danlu.errors import ConfigError

__all__ = ["Certificates", "authority_of", "read_certificates", "why_not_trusted"]

Certificates = tuple[Path, Path, Path]
"""Of a server: the certificate of the authority, its own, and its private key, as PEM files."""


def read_certificates(certificates: Certificates) -> tuple[bytes, bytes, bytes]:
    """The bytes of a server's certificates and of its key.

    Raises:
        ConfigError: a file that cannot be read or holds none, or a key of another certificate.
    """
    authority, own, key = certificates
    read = (authority_of(authority), _bytes(own), _bytes(key))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(own, key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(
                f"the private key {key} is not of the certificate {own}; expected the two that belong together"
            ) from None
        raise ConfigError(
            f"{own} and {key} are no certificate and private key",
            hint="PEM files, which begin with -----BEGIN CERTIFICATE----- and -----BEGIN PRIVATE KEY-----, and a key without a password",
        ) from None
    return read


def authority_of(path: Path) -> bytes:
    """The bytes of the certificate by which others are checked.

    Raises:
        ConfigError: a file that cannot be read, or holds none.
    """
    read = _bytes(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise ConfigError(
            f"{path} holds no certificate", hint="a PEM file, which begins with -----BEGIN CERTIFICATE-----"
        ) from None
    return read


def why_not_trusted(told: str) -> str:
    """What gRPC's words of a connection that could not be encrypted mean; empty where they say something else.

    >>> why_not_trusted("error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER: Invalid certificate: OK")
    'the server does not encrypt'
    """
    if "CERTIFICATE_VERIFY_FAILED" in told:
        why = told.partition("CERTIFICATE_VERIFY_FAILED")[2].removesuffix(": OK").strip(": ")
        return f"the server's certificate is not signed by the one of --tls-ca, or out of date: {why}"
    if "UNAUTHENTICATED" in told:  # its name is another
        return "the server's certificate is of another name than the one in --server"
    return "the server does not encrypt" if "WRONG_VERSION_NUMBER" in told else ""


def _bytes(path: Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the certificate or key {path}: {error.strerror or error}") from None
