"""Tells another program what was found: an address on the web, or a command."""

from __future__ import annotations

import json
import shlex
import subprocess
import urllib.error
import urllib.request
from typing import Any

from danlu.errors import ConfigError, first_line

__all__ = ["alert"]

_SECONDS = 30.0


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
