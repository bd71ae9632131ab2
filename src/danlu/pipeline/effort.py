"""The time that a training takes, of clocks and of cores, its energy where the machine tells, and the machine itself."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

import jax

import danlu

__all__ = ["Effort", "environment", "in_kilojoules"]

_POWER = Path("/sys/class/powercap")
_LIBRARIES = ("jax", "numpy", "polars", "scikit-learn")


class Effort:
    """A clock that starts when it is made.

    Energy is that of the processor's packages (RAPL, on Linux, where users may read it), whatever else ran meanwhile; where it is not
    measured it is left out, and nothing is estimated.
    """

    def __init__(self) -> None:
        self._wall, self._cpu, self._energy = time.perf_counter(), _cpu(), _energy()

    @property
    def seconds(self) -> float:
        """On the clock."""
        return time.perf_counter() - self._wall

    def as_dict(self) -> dict[str, Any]:
        """Seconds, those of all cores together, and joules where they are measured: plain data for ``results.json``."""
        found: dict[str, Any] = {"seconds": round(self.seconds, 2), "cpu_seconds": round(_cpu() - self._cpu, 2)}
        now = _energy()
        if self._energy and now.keys() == self._energy.keys():
            used = [(now[name][0] - start) % most for name, (start, most) in self._energy.items()]
            found["package_joules"] = round(sum(used) / 1e6, 1)
        return found


def in_kilojoules(joules: float) -> str:
    """Energy in words.

    >>> in_kilojoules(5400.0)
    '5.4 kJ (1.5 Wh)'
    """
    return f"{joules / 1000:.3g} kJ ({joules / 3600:.3g} Wh)"


def _cpu() -> float:
    """The seconds of all cores that this process and its finished children took."""
    return sum(os.times()[:4])


def _energy(root: Path | None = None) -> dict[str, tuple[int, int]]:
    """Of each package of the processor: the microjoules that its counter shows, and where it begins anew; empty where it is not told."""
    found = {}
    with contextlib.suppress(OSError, ValueError):
        for path in sorted((root or _POWER).glob("*-rapl:*")):
            if path.name.count(":") == 1:
                counts = [int((path / name).read_text()) for name in ("energy_uj", "max_energy_range_uj")]
                found[path.name] = (counts[0], counts[1] + 1)
    return found


def environment() -> dict[str, str]:
    """Versions and the machine, in words."""
    device = jax.devices()[0]
    versions = {}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "danlu": danlu.__version__,
        "python": platform.python_version(),
        **versions,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(cores),
        "JAX's device": f"{jax.device_count()} × {device.device_kind}",
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
