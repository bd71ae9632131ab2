"""A process that does jobs for another: ``python -m danlu.launch.serving DESCRIPTOR``, begun by :mod:`danlu.launch.workers`."""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import sys
import threading
import time

from danlu.interrupt import heed
from danlu.launch.answers import answered


def serve() -> None:
    """Do jobs until the process that gives them closes the connection, or is gone."""
    connection = multiprocessing.connection.Connection(int(sys.argv[1]))
    os.set_inheritable(connection.fileno(), False)
    parent, function = connection.recv()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, name="danlu-parent", daemon=True).start()
    with heed(), contextlib.suppress(EOFError, OSError):
        while True:
            connection.send(answered(function, connection.recv()))


if __name__ == "__main__":
    serve()
