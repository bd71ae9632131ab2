"""Which code a Gymnasium environment may run: modules that the user named, and modules that this process has already imported.

Gymnasium imports the module in ``"module:Name-v0"``, and what an environment is registered with. A user who writes such a name means
it. A saved agent or the configuration of a run may come from anyone, and imports nothing: its modules must have been imported, or
named by the user at the call (``--allow module``, ``allow=("module",)``).
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from danlu.errors import ConfigError, UntrustedError

__all__ = ["allow", "allow_written", "allowed_modules", "check_allowed", "module_of"]

_ALLOWED: dict[str, None] = {}
_WRITTEN: set[str] = set()
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_LEADS_SOMEWHERE = re.compile(r"[:/\\]")


def allow(names: Iterable[str]) -> None:
    """Import modules that the user named, from the working folder too; from now on environments may name them.

    Raises:
        ConfigError: there is no such module, or it fails while it is imported.
    """
    if isinstance(names, str):
        names = (names,)
    for name in names:
        module = module_of(name) or name
        if not _MODULE.fullmatch(module):
            raise ConfigError(f"{name!r} cannot be allowed; expected the name of a module, such as 'my_package'")
        if module not in sys.modules:
            _import(module)
        _ALLOWED[module] = None


def allow_written(name: Any, parameters: Mapping[str, Any]) -> None:
    """Import the module in an environment's name; the user wrote it, and the parameters."""
    if isinstance(name, str):
        if module := module_of(name):
            allow((module,))
        _WRITTEN.add(_key(name, parameters.items()))


def _key(name: str, parameters: Iterable[tuple[str, Any]]) -> str:
    return json.dumps([name, sorted(parameters)], default=str)


def allowed_modules() -> tuple[str, ...]:
    """The modules that the user has named in this process, to pass to another one."""
    return tuple(_ALLOWED)


def module_of(name: str) -> str | None:
    """The module in an environment's name.

    >>> module_of("my_package:Walk-v0"), module_of("CartPole-v1")
    ('my_package', None)
    """
    module, colon, _ = name.partition(":")
    return module if colon else None


def check_allowed(name: str, parameters: Iterable[tuple[str, Any]], registry: Any) -> None:
    """Refuse an environment that would import a module that the user has not named.

    Args:
        name: Gymnasium's name of it, perhaps out of a file.
        parameters: for its constructor; a text among them may name a module or a file.
        registry: Gymnasium's.

    Raises:
        UntrustedError: it says what to name.
    """
    if _key(name, parameters) in _WRITTEN:
        return
    module = module_of(name)
    if module is not None and module not in sys.modules:
        raise _refused(name, f"the module {module}", module)
    spec = registry.get(name.rpartition(":")[2])
    if spec is None:
        return  # Gymnasium says so
    entry = spec.entry_point
    place = entry.partition(":")[0] if isinstance(entry, str) else getattr(entry, "__module__", None) or ""
    package = place.partition(".")[0]
    if package in {module.partition(".")[0] for module in _ALLOWED}:
        return
    if package not in sys.modules:
        raise _refused(name, f"the package {package}", package)
    for key, value in parameters:
        texts = [text for text in _texts(value) if package != "gymnasium" or _LEADS_SOMEWHERE.search(text)]
        if texts:
            raise _refused(name, f"{key}={texts[0][:60]!r}, which may name code or a file,", package)


def _refused(name: str, what: str, module: str) -> UntrustedError:
    return UntrustedError(
        f"the environment {name!r} needs {what} and was not named by you; nothing was imported",
        hint=f"if you trust the code of {module}: --allow {module} (in Python: allow=({module!r},))",
    )


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for item in value for text in _texts(item)] if isinstance(value, tuple | list) else []


def _import(module: str) -> None:
    here = os.getcwd()
    sys.path.append(here)
    importlib.invalidate_caches()
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise ConfigError(f"the module {module} needs {error.name}, which is not installed") from error
        raise ConfigError(
            f"there is no module {module}, neither installed nor in {here}",
            hint="environments of your own are registered by the module in front of the colon, such as my_envs:Walk-v0",
        ) from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"the module {module} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(here)
