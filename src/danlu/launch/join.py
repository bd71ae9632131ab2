"""Joining the others: one of several processes finds its place and connects to the coordinator, before JAX computes anything."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import sys
from collections.abc import Iterator
from typing import Any

from danlu import processes
from danlu.errors import ConfigError, first_line
from danlu.launch.place import Place, find
from danlu.launch.variables import TIMEOUT
from danlu.stages import stage

__all__ = ["join", "joined"]

_WAIT = 300  # seconds for the others to start


@contextlib.contextmanager
def joined() -> Iterator[Place | None]:
    """Within, this process trains together with the others, if it is one of several; it leaves when all have ended.

    Gives its place; None where it is by itself.

    Raises:
        ConfigError: the others cannot be reached, or have other versions.
    """
    place = join()
    yield place
    if place is not None and place.count > 1:
        import jax

        processes.wait_for_first("end")
        jax.distributed.shutdown()
    processes.leave()


def join() -> Place | None:
    """Join the other processes, if this is one of several: :func:`danlu.launch.joined` without an end, for programs of your own.

    Call it before JAX is used. ``jax.devices()`` are then those of all processes.

    Example:
        >>> join() is None  # nothing says that this process is one of several
        True
    """
    place = find()
    if place is None or processes.is_joined():
        return place
    if place.count == 1:
        processes.enter(0, 1, None)
        return place
    import jax

    if place.rank == 0:
        _check_port(place.coordinator)
    seconds = int(os.environ.get(TIMEOUT) or _WAIT)
    with stage(f"waiting for {place.count} processes"):
        _initialize(jax, place, seconds)
    from jax._src.distributed import global_state

    processes.enter(place.rank, place.count, global_state.client)
    processes.same("the version", _versions(jax))
    with _silent():  # gloo prints a line for each device
        _meet(jax)
    return place


def _meet(jax: Any) -> None:
    """A first sum over all devices, by which they find each other."""
    import numpy as np

    devices = jax.devices()
    mesh = jax.sharding.Mesh(np.array(devices), ("all",))
    divided, whole = (jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes)) for axes in (("all",), ()))
    ones = jax.make_array_from_callback((len(devices),), divided, lambda part: np.ones(1, np.float32))
    jax.jit(lambda each: each.sum(), out_shardings=whole)(ones).block_until_ready()


def _initialize(jax: Any, place: Place, seconds: int) -> None:
    """Connect to the coordinator.

    Raises:
        ConfigError: the port is taken, or not all processes have come within the time.
    """
    host, _, port = place.coordinator.rpartition(":")
    here = host in ("localhost", "127.0.0.1")
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM, by which danlu saves and ends
    try:
        jax.distributed.initialize(
            place.coordinator,
            place.count,
            place.rank,
            local_device_ids=place.local,
            cluster_detection_method="deactivate",
            initialization_timeout=seconds,
            coordinator_bind_address=f"127.0.0.1:{port}" if here else None,
        )
    except (RuntimeError, ValueError) as error:
        others = f"all {place.count} processes" if place.rank == 0 else f"process 0 at {place.coordinator}"
        raise ConfigError(
            f"process {place.rank} waited {seconds} s for {others}: {first_line(error)}",
            hint="each machine starts its process within that time (--timeout), with the same --coordinator and --processes and a --rank "
            "of its own, and must reach the coordinator's port",
        ) from error


def _check_port(coordinator: str) -> None:
    """Refuse a coordinator's address that process 0 cannot listen at.

    Raises:
        ConfigError: another program listens there.
    """
    port = int(coordinator.rpartition(":")[2])
    for family, address in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
        with contextlib.suppress(OSError), socket.socket(family) as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                own.bind((address, port))
                return
            except OSError as error:
                taken = error
    raise ConfigError(
        f"process 0 cannot listen at {coordinator}: {taken.strerror or taken}",
        hint="choose a free port: --coordinator host:port, or leave it out on one machine",
    )


def _versions(jax: Any) -> dict[str, str]:
    import jaxlib
    import numpy as np

    import danlu

    return {
        "danlu": danlu.__version__,
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "numpy": np.__version__,
        "Python": platform.python_version(),
        "device": jax.local_devices()[0].device_kind,
        "devices a process": str(jax.local_device_count()),
    }


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Within, what libraries in C write to the standard streams is lost."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in kept:
            os.dup2(nowhere, number)
        yield
    finally:
        for number, own in kept.items():
            os.dup2(own, number)
            os.close(own)
        os.close(nowhere)
