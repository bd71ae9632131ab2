"""The ``sign`` command."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import Run

__all__ = ["sign"]


def sign(
    run: Run,
    key: Annotated[
        Path | None, typer.Option(help="Sign with this private key of OpenSSH's, such as ~/.ssh/id_ed25519.")
    ] = None,
    trusted: Annotated[
        str | None,
        typer.Option(help="Check instead: public keys of which one is to have signed it, such as id_ed25519.pub."),
    ] = None,
) -> None:
    """Sign a model, or check who has signed it.

    With the environment variable DANLU_TRUSTED=KEY.pub no command loads a model that this key has not signed. What is signed is the
    model: its weights, its schema, its scores; its card, which may be edited, is not.
    """
    from danlu.artifact import load_artifact
    from danlu.artifact import sign as signed
    from danlu.artifact.signing import check_signature
    from danlu.errors import ConfigError
    from danlu.pipeline.domains import saved_in

    folder = saved_in(run)
    if (key is None) == (trusted is None):
        raise ConfigError(
            "expected either --key, to sign, or --trusted, to check",
            hint=f"danlu sign {shlex.quote(str(run))} --key ~/.ssh/id_ed25519",
        )
    load_artifact(folder, trusted=trusted)  # what is damaged is not signed, and what was changed is not right
    if key is not None:
        print(f"{folder} is signed by the key {signed(folder, key)}")
    elif trusted is not None:
        print(f"{folder} is as it was signed by the trusted key {check_signature(folder, trusted)}")
