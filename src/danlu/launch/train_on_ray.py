"""One training by several workers of a Ray cluster: Ray Train's JAX trainer places them, watches over them and starts them again.

The trainer starts one worker for each process. Its own way to connect JAX is for TPUs and GPUs alone: ``JaxConfig`` of Ray 2.60 does
nothing for workers that have neither, and gives all workers of a machine the same first GPU. So the workers agree on a coordinator through
Ray, and begin their process as ``danlu launch --rank K`` does on each of several machines. A process that fails, or stands still, is a
failure of its worker, and Ray starts all of them again: they go on from danlu's own checkpoint.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from danlu.errors import TrainingError, first_line
from danlu.interrupt import graceful, told
from danlu.launch.cluster import Cluster, not_installed
from danlu.launch.launcher import Job, launch, resumed
from danlu.launch.workers import RESTARTS, Workers

__all__ = ["RayJob", "train_on_ray"]

_LOOK = 0.5  # seconds between two looks at what the workers say
_MOMENT = 8.0  # seconds in which it shows whether a process failed because another one refused


@dataclasses.dataclass(frozen=True)
class RayJob:
    """What is trained.

    Args:
        command: danlu's arguments, ``("train", "titanic.csv", …)``.
        run: the run's folder, which all machines see at this place.
        folder: where the command is given, in which relative names are looked up.
    """

    command: tuple[str, ...]
    run: str
    folder: str


class Board:
    """What workers say, and whether they refused; an actor of the cluster."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._ended: int | None = None

    def say(self, line: str) -> None:
        """A line for the user."""
        self._lines.append(line)

    def end(self, status: int) -> None:
        """A process ended as it meant to, with this exit status; the first that is not 0 counts."""
        self._ended = self._ended or status

    def ended(self) -> int | None:
        """The exit status; None before any process has ended."""
        return self._ended

    def take(self) -> list[str]:
        """The lines that were not taken yet."""
        lines, self._lines = self._lines, []
        return lines


def train_on_ray(job: RayJob, workers: Workers, *, say: Callable[[str], None], note: Callable[[str], None]) -> int:
    """Train by the workers of a cluster.

    Args:
        say: called with each line that the first process prints.
        note: called with each line about the workers.

    Returns:
        The exit status.

    Raises:
        MissingExtraError, ConfigError: see :class:`~danlu.launch.cluster.Cluster`.
        TrainingError: the workers failed more often than they are started again, or a signal stopped them.
    """
    with graceful() as asked, Cluster(workers) as cluster:
        ray = cluster.ray
        board = ray.remote(num_cpus=0)(Board).remote()
        note(
            f"on Ray: {cluster.count} workers with {cluster.resources['CPU']:g} CPU and {cluster.resources['GPU']:g} GPU each"
        )
        fit = ray.remote(_fit).options(num_cpus=0, max_retries=0)
        task = fit.remote(job, cluster.count, cluster.resources, cluster.variables, board)
        on = "ray" if workers.on == "ray" else workers.on
        again = f"go on: danlu train --resume {job.run} --on {on} --workers {cluster.count}"

        def relay() -> None:
            for line in ray.get(board.take.remote()):
                say(line)

        while not ray.wait([task], timeout=_LOOK)[0]:
            relay()
            if asked:
                ray.cancel(task, force=True)
                error = TrainingError(f"{told(asked.number or 2)}; the last checkpoint is kept", hint=again)
                error.stopped_by = asked.number
                raise error
        relay()
        try:
            failure: str | None = ray.get(task)
        except ray.exceptions.RayError as error:
            failure = first_line(error)
        if failure is not None and (missing := not_installed(failure)) is not None:
            raise missing
        status: int | None = ray.get(board.ended.remote())
        relay()
        if failure is not None and not status:
            raise TrainingError(
                f"the workers failed more than {RESTARTS} times, the last time so: {failure}",
                hint=again if os.path.isdir(job.run) else None,
            )
        return status or 0


def _fit(job: RayJob, count: int, resources: dict[str, float], variables: dict[str, str], board: Any) -> str | None:
    """Run Ray Train's trainer, within the cluster; None, or what failed."""
    from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.jax import JaxConfig, JaxTrainer

    kept = tempfile.mkdtemp(prefix="danlu-ray-")  # Ray Train's own notes: danlu's checkpoints are in the run
    try:
        JaxTrainer(
            _work,
            train_loop_config={"job": job, "resources": resources, "board": board},
            jax_config=JaxConfig(),  # JAX is connected by danlu
            scaling_config=ScalingConfig(
                num_workers=count,
                use_gpu=resources["GPU"] > 0,
                resources_per_worker={name: value for name, value in resources.items() if value},
            ),
            run_config=RunConfig(
                name="danlu",
                storage_path=kept,
                failure_config=FailureConfig(max_failures=RESTARTS),
                worker_runtime_env={"env_vars": {**variables, "RAY_CHDIR_TO_TRIAL_DIR": "0"}},
            ),
        ).fit()
        return None
    except Exception as error:
        failures = getattr(error, "worker_failures", None) or {0: error}
        return "; ".join(f"worker {rank}: {first_line(each)}" for rank, each in sorted(failures.items()))
    finally:
        shutil.rmtree(kept, ignore_errors=True)


def _work(config: dict[str, Any]) -> None:
    """One worker: it begins its process and watches over it."""
    import ray
    from ray.train import get_context
    from ray.train.collective import broadcast_from_rank_zero

    job, board, context = config["job"], config["board"], get_context()
    rank, count = context.get_world_rank(), context.get_world_size()
    coordinator = broadcast_from_rank_zero(f"{ray.util.get_node_ip_address()}:{_free_port()}" if rank == 0 else None)
    if ray.get(board.ended.remote()):
        return  # it refused before
    if not Path(job.folder).is_dir():
        ray.get(
            board.say.remote(
                f"danlu: {socket.gethostname()} does not see the folder {job.folder}, which all machines must share"
            )
        )
        ray.get(board.end.remote(1))
        return
    command = resumed(job.command, job.run) if (Path(job.run) / "config.json").is_file() else job.command
    gpus = int(config["resources"]["GPU"])
    launched = Job(command, count, devices=gpus or 1, coordinator=coordinator, rank=rank, restarts=0)

    def say(line: str) -> None:
        ray.get(board.say.remote(line))

    _on_own_cores(context.get_local_rank(), context.get_local_world_size())
    try:
        with contextlib.chdir(job.folder), _relayed(say):
            status = launch(launched, say=say)
    except TrainingError:
        until = time.monotonic() + _MOMENT
        while time.monotonic() < until:
            if ray.get(board.ended.remote()):
                return
            time.sleep(_LOOK)
        raise
    ray.get(board.end.remote(status))


def _on_own_cores(local: int, count: int) -> None:
    """Keep the process of this worker to its share of the machine's cores, as ``danlu launch`` does."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        share = len(cores) // count
        if share:
            os.sched_setaffinity(0, cores[local * share : (local + 1) * share])


@contextlib.contextmanager
def _relayed(say: Callable[[str], None]) -> Iterator[None]:
    """Within, what is written to the standard streams is said, line by line."""
    reader, writer = os.pipe()
    kept = {number: os.dup(number) for number in (1, 2)}
    for number in kept:
        os.dup2(writer, number)
    os.close(writer)

    def read() -> None:
        with open(reader, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if not line.startswith("[Gloo]"):
                    say(line.rstrip("\n"))

    thread = threading.Thread(target=read, name="danlu-relay", daemon=True)
    thread.start()
    try:
        yield
    finally:
        for number, own in kept.items():
            os.dup2(own, number)
            os.close(own)
        thread.join(5.0)


def _free_port() -> int:
    with socket.socket() as own:
        own.bind(("", 0))
        return int(own.getsockname()[1])
