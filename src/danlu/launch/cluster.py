"""A Ray cluster: reached, or started on this machine; jobs are its tasks, and a training of several processes goes through Ray Train.

Reference: Moritz et al., "Ray: a distributed framework for emerging AI applications" (OSDI 2018).
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from danlu.errors import ConfigError, MissingExtraError, first_line
from danlu.launch.answers import Answer, Pool, answered

if TYPE_CHECKING:
    from danlu.launch.workers import Workers

__all__ = ["Cluster", "not_installed", "ray_library"]

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is told to anybody
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # signals are danlu's
    "RAY_worker_niceness": "0",  # of a cluster that is started here: 15, Ray's own, starves on a machine that does anything else
}


def ray_library() -> ModuleType:
    """The library, which is an extra.

    Raises:
        MissingExtraError: it is not installed.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise MissingExtraError("--on ray needs Ray", hint='pip install "danlu[ray]"') from None


class Cluster:
    """The cluster of some workers; within it is connected.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: the cluster cannot be reached, or has no room for the workers.

    Attributes:
        ray: the library.
        count: how many workers there are at the same time.
        resources: of each.
    """

    def __init__(self, workers: Workers) -> None:
        self.ray: Any = ray_library()
        self._workers, self._began = workers, False
        self.resources = {"CPU": 1.0 if workers.cpus is None else workers.cpus, "GPU": workers.gpus or 0.0}

    def __enter__(self) -> Cluster:
        if not self.ray.is_initialized():
            self._connect()
            self._began = True
        try:
            self.count = self._room()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._began:
            self.ray.shutdown()

    def _connect(self) -> None:
        on, known = self._workers.on, os.environ.get("RAY_ADDRESS")
        address = on if on.startswith("ray://") else known
        how: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        if not address:
            how["include_dashboard"] = False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.ray.init(
                    address=address or "local", **how
                )  # None would join whatever cluster was started here last
        except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
            where = f"at {address}" if address else "on this machine"
            raise ConfigError(
                f"no Ray cluster answers {where}: {first_line(error)}",
                hint="is it running, and its port open? --on ray://host:10001 goes by the port of Ray's clients; without RAY_ADDRESS, "
                "--on ray starts a cluster of this machine",
            ) from error

    def _room(self) -> int:
        """How many workers there are at the same time.

        Raises:
            ConfigError: there is not room for so many, or not for one.
        """
        there = self.ray.cluster_resources()
        fit = [int(there.get(name, 0.0) / each) for name, each in self.resources.items() if each]
        asked = self._workers.count
        if min(fit) < (asked or 1):
            each = " and ".join(f"{value:g} {name}" for name, value in self.resources.items() if value)
            has = " and ".join(f"{there.get(name, 0.0):g} {name}" for name in self.resources)
            raise ConfigError(
                f"{asked or 1} workers with {each} each do not fit into the cluster, which has {has}",
                hint="ask for fewer --workers, --cpus or --gpus, or let more machines join: ray start --address=host:6379",
            )
        return asked or min(fit)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of each worker."""
        own = {name: value for name, value in os.environ.items() if name.startswith(("DANLU_", "LC_", "LANG"))}
        if not self.resources["GPU"]:
            own["JAX_PLATFORMS"] = "cpu"
        return own

    def pool(self, function: Callable[[Any], Any]) -> Pool:
        """Where jobs are done."""
        return _Tasks(self, function)


@dataclasses.dataclass
class _Tasks:
    """Jobs as tasks of the cluster; one whose worker died is begun again by who waits for it."""

    cluster: Cluster
    function: Callable[[Any], Any]
    under_way: dict[Any, int] = dataclasses.field(default_factory=dict)

    def begin(self, number: int, job: Any) -> None:
        resources = self.cluster.resources
        # Ray lets libraries of linear algebra use as many threads as a task has CPUs: their sums would differ from those elsewhere
        variables = {
            **self.cluster.variables,
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())),
        }
        task = self.cluster.ray.remote(answered).options(
            num_cpus=resources["CPU"], num_gpus=resources["GPU"], max_retries=0, runtime_env={"env_vars": variables}
        )
        self.under_way[task.remote(self.function, job)] = number

    def wait(self, seconds: float) -> Iterator[tuple[int, Answer]]:
        ray = self.cluster.ray
        ended, _ = ray.wait(list(self.under_way), timeout=seconds)
        for task in ended:
            number = self.under_way.pop(task)
            try:
                yield number, ray.get(task)
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
                yield number, Answer(died=f"died ({first_line(error)})")
            except (ray.exceptions.TaskCancelledError, KeyboardInterrupt):
                yield number, Answer(died="was cancelled")
            except ray.exceptions.RayError as error:
                known = not_installed(str(error))
                yield number, Answer(error=known or ConfigError(f"the Ray cluster cannot do this: {first_line(error)}"))

    def ask(self, number: int) -> None:
        for task in self.under_way:
            with contextlib.suppress(Exception):
                self.cluster.ray.cancel(task)  # Ctrl-C in the task's process


def not_installed(said: str) -> ConfigError | None:
    """The error of machines without danlu, if that is what the cluster says."""
    if not re.search(r"No\s+module\s+named\s+'danlu", said):
        return None
    return ConfigError(
        "danlu is not installed on the machines of the cluster",
        hint='install the same version there: pip install "danlu[ray]"',
    )
