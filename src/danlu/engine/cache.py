"""XLA's persistent compilation cache, in the user's cache folder.

A compiled program is kept on disk and found again by the next process, which then starts in a fraction of the time. The
folder is ``$DANLU_CACHE``, else ``$XDG_CACHE_HOME/danlu/xla``, else ``~/.cache/danlu/xla``. ``DANLU_CACHE=off`` turns it
off; a folder that was set through JAX itself is left as it is.
"""

from __future__ import annotations

import os
from pathlib import Path

import jax

__all__ = ["cache_folder", "enable_compilation_cache"]


def cache_folder() -> Path | None:
    """Where compiled programs are kept, or None when the cache is off."""
    setting = os.environ.get("DANLU_CACHE", "")
    if setting.lower() in ("off", "0", "no", "none", "false"):
        return None
    if setting:
        return Path(setting).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "danlu" / "xla"


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
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder
