"""Tells another program what was found: an address on the web, or a command."""

from __future__ import annotations

import json
import shlex
import subprocess
import urllib.error
import urllib.request
from typing import Any

from danlu.errors import ConfigError, first_line

__all__ = ["alert", "check_alert"]

_SECONDS = 30.0


def check_alert(where: str | None) -> None:
    """Refuse what names nobody, before anything is done.

    Raises:
        ConfigError: an empty text, or one that is no command.
    """
    if where is None or where.startswith(("http://", "https://")):
        return
    try:
        named = shlex.split(where)
    except ValueError as error:
        raise ConfigError(f"--alert is {where!r}, which is no command: {first_line(error)}") from error
    if not named:
        raise ConfigError("--alert is empty; expected an address (https://…) or a command")


def alert(where: str, found: dict[str, Any]) -> str:
    """Send what was found, as JSON: by POST to an address (``https://…``), else to a command's standard input.

    Returns:
        what was done, in words.

    Raises:
        ConfigError: the address does not answer with a status below 400, or the command fails.

    >>> alert("cat", {"alarms": []})
    'cat was told'
    """
    body = json.dumps(found, ensure_ascii=False).encode()
    if where.startswith(("http://", "https://")):
        request = urllib.request.Request(where, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS):
                return f"{where} was told"
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise ConfigError(f"{where} could not be told: {first_line(error)}") from error
    try:
        done = subprocess.run(shlex.split(where), input=body, capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{where!r} could not be run: {first_line(error)}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ConfigError(f"{where!r} failed with status {done.returncode}" + (f": {said[-1][:200]}" if said else ""))
    return f"{where} was told"
