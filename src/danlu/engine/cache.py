"""Compiled programs: on disk, in the user's cache folder, and a limited number in memory.

A compiled program is kept on disk and found again by the next process, which then starts in a fraction of the time. The
folder is ``$DANLU_CACHE``, else ``$XDG_CACHE_HOME/danlu/xla``, else ``~/.cache/danlu/xla``. ``DANLU_CACHE=off`` turns it
off; a folder that was set through JAX itself is left as it is.

In memory JAX keeps every program that it has compiled, about 20 MB for each different network that is trained. After
``$DANLU_PROGRAMS`` of them (24; 0 is no limit) all are let go, so that a process that tries hundreds of networks does not grow.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import warnings
from collections.abc import Hashable
from pathlib import Path

import jax

from danlu.files import cache_folder

__all__ = ["cache_folder", "enable_compilation_cache", "note_program"]

_PROGRAMS = 24
_seen: set[int] = set()


def enable_compilation_cache() -> Path | None:
    """Turn the cache on (idempotent). Returns its folder, or None when it is off or cannot be used."""
    present = getattr(jax.config, "jax_compilation_cache_dir", None)
    if present:
        return Path(present)
    folder = cache_folder()
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(folder, os.W_OK):
        return None
    warnings.filterwarnings(
        "ignore", message="Error (reading|writing) persistent compilation cache"
    )  # it is only slower then
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder


def note_program(program: Hashable) -> None:
    """Called before a program is compiled; at the limit, the programs compiled before are released."""
    key, limit = hash(program), _limit()
    if key in _seen:
        return
    if limit and len(_seen) >= limit:
        _seen.clear()
        jax.clear_caches()
        gc.collect()
        if sys.platform == "linux":  # glibc keeps what was freed, in pieces
            with contextlib.suppress(OSError, AttributeError):
                ctypes.CDLL("libc.so.6").malloc_trim(0)
    _seen.add(key)


def _limit() -> int:
    given = os.environ.get("DANLU_PROGRAMS", "")
    return int(given) if given.isdigit() else _PROGRAMS
