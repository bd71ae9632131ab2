"""The ``serve`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import Allow, Lenient
from danlu.errors import ConfigError

__all__ = ["serve"]


def serve(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]RUN...", help="Folders of runs or saved models, each with the name that it is asked by."
        ),
    ],
    host: Annotated[str, typer.Option(help="The address; 0.0.0.0 lets other machines ask.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(envvar="DANLU_SERVE_TOKEN", help="What each request has to bring: Authorization: Bearer TOKEN."),
    ] = None,
    anyone: Annotated[bool, typer.Option("--anyone", help="Let other machines ask without a token.")] = False,
    canary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]RUN:SHARE",
            help="A run that answers a share of the requests, such as runs/new:0.1; can be repeated.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that answer; each holds the models.")] = 1,
    tls_cert: Annotated[Path | None, typer.Option(help="The certificate of the service (PEM), for https.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    client_ca: Annotated[
        Path | None, typer.Option(help="The authority that callers' certificates are of (mutual TLS).")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name that requests may call the service by; can be repeated.")
    ] = None,
    batch_rows: Annotated[
        int, typer.Option(help="Rows that are answered together at most; 1 answers each request alone.")
    ] = 256,
    batch_wait: Annotated[float, typer.Option(help="Milliseconds that a request waits for others.")] = 2.0,
    queue_rows: Annotated[int, typer.Option(help="Rows that may wait; beyond them a request is refused (503).")] = 4096,
    max_rows: Annotated[int, typer.Option(help="Rows of one request at most (413).")] = 10_000,
    max_bytes: Annotated[int, typer.Option(help="Bytes of one request at most (413).")] = 16 * 2**20,
    timeout: Annotated[float, typer.Option(help="Seconds after which a request is given up (504).")] = 30.0,
    watch: Annotated[
        float, typer.Option(help="Seconds between two looks for a new version; 0 takes one only when asked.")
    ] = 2.0,
    audit: Annotated[Path | None, typer.Option(help="A file for a line about each request, without its data.")] = None,
    log_inputs: Annotated[
        Path | None, typer.Option(help="A file for each request's rows and answers, for danlu monitor.")
    ] = None,
    alert: Annotated[
        str | None,
        typer.Option(
            help="An address (https://…) or a command that is told, in JSON, when the rows have drifted from the training's."
        ),
    ] = None,
    lenient: Lenient = False,
    allow: Allow = None,
) -> None:
    """Answer for trained runs over HTTP: /predict, /docs, /metrics, and version 2 of the Open Inference Protocol."""
    from danlu.serve import ServeOptions
    from danlu.serve.named import canaries_of, models_of
    from danlu.serve.run import Tls, run
    from danlu.watch.alert import check_alert

    if (tls_cert is None) != (tls_key is None) or (client_ca is not None and tls_cert is None):
        raise ConfigError(
            "the certificate is given in part; expected --tls-cert and --tls-key, and with them perhaps --client-ca"
        )
    check_alert(alert)
    models = models_of(runs)
    options = ServeOptions(  # type: ignore[call-arg]
        batch_rows=batch_rows,
        batch_wait=batch_wait,
        queue_rows=queue_rows,
        max_rows=max_rows,
        max_bytes=max_bytes,
        timeout=timeout,
        token=token or None,
        hosts=tuple(name.lower() for name in allow_host or ()),
        watch=watch,
        lenient=lenient,
        alert=alert,
        audit=None if audit is None else str(audit),
        log_inputs=None if log_inputs is None else str(log_inputs),
    )
    tls = None if tls_cert is None else Tls(str(tls_cert), str(tls_key), None if client_ca is None else str(client_ca))
    ended = run(
        models,
        options,
        host=host,
        port=port,
        workers=workers,
        canaries=canaries_of(canary or (), models),
        allow=allow or (),
        tls=tls,
        anyone=anyone,
    )
    typer.echo(f"danlu: {ended}", err=True)
