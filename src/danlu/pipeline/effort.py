"""The time that a training takes, of clocks and of cores, its energy where the machine tells, and the machine itself."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

import danlu

__all__ = ["WATTS_PER_CORE", "Effort", "energy_in_words", "environment", "in_kilojoules"]

WATTS_PER_CORE = 12.0
"""Of a busy core, where its energy is not measured: what Green Algorithms takes for a processor that it does not know.

Reference: Lannelongue, Grealey & Inouye, "Green Algorithms: quantifying the carbon footprint of computation" (2021), Advanced Science 8;
the processors in its table take from 4 to 24 W a core.
"""

_POWER = Path("/sys/class/powercap")
_LIBRARIES = ("jax", "numpy", "polars", "scikit-learn")


class Effort:
    """A clock that starts when it is made.

    Energy is that of the processor's packages (RAPL, on Linux, where users may read it), whatever else ran meanwhile. Where it cannot be
    measured it is estimated: the seconds of all cores times :data:`WATTS_PER_CORE`. Memory, graphics cards and cooling are not in it.
    """

    def __init__(self) -> None:
        self._wall, self._cpu, self._energy = time.perf_counter(), _cpu(), _energy()

    @property
    def seconds(self) -> float:
        """On the clock."""
        return time.perf_counter() - self._wall

    def as_dict(self) -> dict[str, Any]:
        """Seconds, those of all cores together, and joules, with how they were found: plain data for ``results.json``."""
        found: dict[str, Any] = {"seconds": round(self.seconds, 2), "cpu_seconds": round(_cpu() - self._cpu, 2)}
        now = _energy()
        if self._energy and now.keys() == self._energy.keys():
            used = [(now[name][0] - start) % most for name, (start, most) in self._energy.items()]
            return {**found, "energy": {"joules": round(sum(used) / 1e6, 1), "how": "measured"}}
        joules = round(found["cpu_seconds"] * WATTS_PER_CORE, 1)
        return {**found, "energy": {"joules": joules, "how": "estimated", "watts_per_core": WATTS_PER_CORE}}


def in_kilojoules(joules: float) -> str:
    """Energy in words.

    >>> in_kilojoules(5400.0)
    '5.4 kJ (1.5 Wh)'
    """
    return f"{joules / 1000:.3g} kJ ({joules / 3600:.3g} Wh)"


def energy_in_words(compute: Mapping[str, Any]) -> str:
    """The energy that ``results.json`` tells, and how it was found; empty where it tells none.

    >>> energy_in_words({"cpu_seconds": 450.0, "energy": {"joules": 5400.0, "how": "estimated", "watts_per_core": 12.0}})
    'about 5.4 kJ (1.5 Wh), estimated: 450 s of a core at 12 W'
    """
    energy = compute.get("energy") or {
        "joules": compute.get("package_joules"),
        "how": "measured",
    }  # as an older version wrote it
    if energy["joules"] is None:
        return ""
    if energy["how"] == "measured":
        return f"{in_kilojoules(energy['joules'])}, measured at the processor (RAPL), with whatever else ran"
    return (
        f"about {in_kilojoules(energy['joules'])}, estimated: {compute['cpu_seconds']:,.0f} s of a core at "
        f"{energy['watts_per_core']:g} W"
    )


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
    device = jax.local_devices()[0]
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
