"""The environment variables by which a launcher, or a manifest, tells a process which one it is."""

from __future__ import annotations

__all__ = ["COORDINATOR", "COUNT", "LAUNCHED", "PIPE", "RANK", "TIMEOUT"]

COORDINATOR = "DANLU_COORDINATOR"
"""``host:port`` of process 0, which the others connect to."""
COUNT = "DANLU_PROCESSES"
"""How many processes there are."""
RANK = "DANLU_RANK"
"""This process's number, from 0; without it, Kubernetes' ``JOB_COMPLETION_INDEX``."""
PIPE = "DANLU_LAUNCH_PIPE"
"""The pipe to the launcher."""
LAUNCHED = "DANLU_LAUNCHED"
"""Set by ``danlu launch``, which has already said what it starts."""
TIMEOUT = "DANLU_LAUNCH_TIMEOUT"
"""Seconds that a process waits for the others to start."""
