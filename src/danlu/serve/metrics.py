"""What a service counts, in Prometheus's form."""

from __future__ import annotations

import os
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096, 16384)


class Metrics:
    """The counters of one service. Labels have few values: names of models, versions and routes, never what a caller sent."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        of: dict[str, Any] = {"registry": self._registry}
        self.requests = Counter("danlu_requests", "Requests answered", ["route", "model", "version", "status"], **of)
        self.seconds = Histogram("danlu_request_seconds", "Seconds of a request", ["route"], buckets=_SECONDS, **of)
        self.rows = Counter("danlu_rows", "Rows answered", ["model", "version"], **of)
        self.batch = Histogram("danlu_batch_rows", "Rows computed together", ["model"], buckets=_ROWS, **of)
        self.queue = Gauge("danlu_queue_rows", "Rows that wait", ["model"], multiprocess_mode="livesum", **of)
        self.errors = Counter("danlu_errors", "Requests refused or failed", ["route", "status"], **of)
        self.drift = Gauge(
            "danlu_drift_psi", "Population stability index", ["model", "of"], multiprocess_mode="max", **of
        )
        self.reloads = Counter("danlu_reloads", "New versions, taken or refused", ["model", "result"], **of)

    def text(self) -> bytes:
        """All of them, of all worker processes."""
        registry = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
        return generate_latest(registry)
