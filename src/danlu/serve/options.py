"""What a service is told: limits, batches, who may ask, and what is written down."""

from __future__ import annotations

from danlu.blueprint import Blueprint, setting

__all__ = ["ServeOptions"]


class ServeOptions(Blueprint):
    """The settings of a service.

    Attributes:
        batch_rows: rows that are answered together at most; 1 answers each request by itself.
        batch_wait: milliseconds that the first request of a batch waits for others.
        queue_rows: rows that may wait; a request beyond them is refused with 503 and ``Retry-After``.
        max_rows: rows of one request at most; more are refused with 413.
        max_bytes: bytes of the body of one request at most; more are refused with 413.
        timeout: seconds after which a request is given up with 504.
        token: what each request has to bring, as ``Authorization: Bearer TOKEN``; None asks for nothing.
        hosts: the names that a request may call this service by (its ``Host``); empty takes any.
        watch: seconds between two looks at whether a model's files have changed; 0 looks only when asked.
        lenient: whether files with what was never seen in training are answered, with a note, instead of refused.
        alert: an address or a command that is told in JSON what has drifted, each thing once; None tells nobody.
        alert_every: seconds between two looks at that.
        audit: the file that a line about each request is added to, without its data; None writes none.
        log_inputs: the file that each request's rows and answers are added to; None writes none.
    """

    batch_rows: int = setting(256, minimum=1, integer=True)
    batch_wait: float = setting(2.0, minimum=0, maximum=1000)
    queue_rows: int = setting(4096, minimum=1, integer=True)
    max_rows: int = setting(10_000, minimum=1, integer=True)
    max_bytes: int = setting(16_777_216, minimum=1024, integer=True)
    timeout: float = setting(30.0, above=0)
    watch: float = setting(2.0, minimum=0)
    alert_every: float = setting(60.0, above=0)
    token: str | None = None
    hosts: tuple[str, ...] = ()
    lenient: bool = False
    alert: str | None = None
    audit: str | None = None
    log_inputs: str | None = None
