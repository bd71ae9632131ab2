"""Which process this is: said by a launcher or a manifest, or found by Slurm's, Open MPI's and Kubernetes' own variables."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

from danlu.errors import ConfigError
from danlu.launch.variables import COORDINATOR, COUNT, LAUNCHED, RANK

__all__ = ["Place", "find"]


@dataclasses.dataclass(frozen=True)
class Place:
    """A process among those that train together.

    Attributes:
        coordinator: ``host:port`` of process 0.
        count: how many there are.
        rank: this one's number, from 0.
        found: what said so.
        local: its number on this machine, where its devices go by that; None takes all of the machine.
    """

    coordinator: str
    count: int
    rank: int
    found: str
    local: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.count:
            raise ConfigError(
                f"this is process {self.rank} of {self.count} ({self.found}); expected a number from 0 to {self.count - 1}"
            )
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(
                f"the coordinator is {self.coordinator!r}; expected host:port, the machine of process 0 and a free port there",
                hint="--coordinator node-1:8476",
            )


def find(variables: Mapping[str, str] | None = None) -> Place | None:
    """This process's place; None where it is by itself.

    Args:
        variables: instead of the environment's.

    Example:
        >>> find({})
        >>> found = find({"DANLU_COORDINATOR": "node-1:8476", "DANLU_PROCESSES": "4", "JOB_COMPLETION_INDEX": "3"})
        >>> found.rank, found.count, found.found
        (3, 4, 'DANLU_PROCESSES')
    """
    given = os.environ if variables is None else variables
    if given.get(COORDINATOR):
        rank = given.get(RANK, given.get("JOB_COMPLETION_INDEX"))
        values = {COUNT: given.get(COUNT), RANK: rank}
        for name, value in values.items():
            if value is None or not value.isdecimal():
                raise ConfigError(f"{COORDINATOR} is set, and {name} is {value!r}; expected a whole number")
        return Place(
            given[COORDINATOR],
            int(values[COUNT] or 0),
            int(rank or 0),
            "danlu launch" if given.get(LAUNCHED) else COUNT,
        )
    for name, count in (("Slurm", "SLURM_STEP_NUM_TASKS"), ("Open MPI", "OMPI_COMM_WORLD_SIZE")):
        if int(given.get(count) or 1) > 1:
            return _of_cluster(name)
    if "KUBERNETES_SERVICE_HOST" in given and "JOB_COMPLETION_INDEX" in given:
        return _of_cluster("Kubernetes")
    return None


def _of_cluster(name: str) -> Place | None:
    """What JAX's own detection says of a cluster; None where the process turns out to be by itself.

    Raises:
        ConfigError: the cluster does not say enough.
    """
    from jax._src import clusters

    kind = {"Slurm": "SlurmCluster", "Open MPI": "OmpiCluster", "Kubernetes": "K8sCluster"}[name]
    cluster = next((each for each in clusters.ClusterEnv._cluster_types if each.__name__ == kind), None)
    if cluster is None or not cluster.is_env_present():
        raise ConfigError(
            f"this looks like one of several processes of {name}, but which one is not said",
            hint=f"set {COORDINATOR}=host:port, {COUNT} and {RANK} in each process",
        )
    try:
        port = os.environ.get("JAX_COORDINATOR_PORT")
        coordinator = cluster.get_coordinator_address(timeout_secs=60, override_coordinator_port=port)
        count, rank = cluster.get_process_count(), cluster.get_process_id()
        local = cluster.get_local_process_id()
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise ConfigError(
            f"{name} started this process, but its place is not found: {error}",
            hint=f"set {COORDINATOR}=host:port, {COUNT} and {RANK} in each process",
        ) from error
    return None if count < 2 else Place(coordinator, count, rank, name, local)
