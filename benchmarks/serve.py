"""danlu serve under load: latency at a steady rate, rows a second, requests a second beside a bare Starlette route, and memory.

    .venv/bin/python benchmarks/serve.py RUN ROWS.csv [--seconds 10] [--requests 50000] [--only steady,batches,closed,memory]

RUN is a run of ``danlu train`` on a table, ROWS.csv rows that it can predict (with the same header). Server and client share the machine's
cores; the client is this file: raw HTTP/1.1 over keep-alive connections (asyncio), a record of one row a request, rows drawn from the file.

steady: 200 requests a second, sent when they are due whether or not the ones before are answered; the latency counts from when it was due.
batches: requests of 250 rows over two connections, one after the other.
closed: 64 connections, each with its next request as soon as the last is answered. Beside danlu serve: the same with ``--batch-rows 1``;
a Starlette route that calls ``model.respond`` itself; and one that only reads the JSON and answers with a fixed text, the most that one
process can do with the model left out.
memory: the resident memory of the service after so many requests, at four points on the way.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
from harness import machine

RESULTS = Path(__file__).parent / "results" / "serve.json"
BARE = """
import json, sys
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
import uvicorn

how, run, port = sys.argv[1:]
fixed = {"predictions": [{"answer": "yes", "probability no": 0.123456789, "probability yes": 0.876543211}]}
if how == "respond":
    import danlu
    model = danlu.load(run)

async def predict(request):
    record = json.loads(await request.body())
    return JSONResponse(fixed if how == "fixed" else {"predictions": model.respond([record], say=lambda note: None)})

async def ready(request):
    return JSONResponse({})

routes = [Route("/predict", predict, methods=["POST"]), Route("/ready", ready)]
uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=int(port), log_level="warning", access_log=False)
"""


@contextlib.contextmanager
def service(command: Sequence[str], port: int) -> Iterator[psutil.Process]:
    process = subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1).close()
                break
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def request_of(body: Any) -> bytes:
    data = json.dumps(body, default=str).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


class Connection:
    """One keep-alive connection."""

    async def open(self, port: int) -> Connection:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        return self

    async def ask(self, request: bytes) -> int:
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        place = lower.index(b"content-length:") + 15
        await self.reader.readexactly(int(lower[place : lower.index(b"\r", place)]))
        return int(head.split(b" ", 2)[1])


async def steady(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> dict[str, Any]:
    free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    for _ in range(32):
        free.put_nowait(await Connection().open(port))
    latencies: list[float] = []
    statuses: list[int] = []
    begin = time.perf_counter() + 0.1

    async def one(number: int) -> None:
        due = begin + number / rate
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        connection = await free.get()
        statuses.append(await connection.ask(requests[number % len(requests)]))
        latencies.append(time.perf_counter() - due)
        free.put_nowait(connection)

    await asyncio.gather(*(one(number) for number in range(int(rate * seconds))))
    told = {f"p{level}": round(float(np.percentile(latencies, level)) * 1000, 2) for level in (50, 95, 99)}
    return {"rate": rate, "requests": len(latencies), "failed": sum(status != 200 for status in statuses), "ms": told}


async def closed(
    port: int, requests: Sequence[bytes], connections: int, seconds: float, most: int = 10**9
) -> dict[str, Any]:
    turn, done, failed = itertools.count(), 0, 0
    opened = [await Connection().open(port) for _ in range(connections)]
    begin = time.perf_counter()

    async def ask(connection: Connection) -> None:
        nonlocal done, failed
        while time.perf_counter() - begin < seconds and done < most:
            failed += await connection.ask(requests[next(turn) % len(requests)]) != 200
            done += 1

    await asyncio.gather(*map(ask, opened))
    return {
        "connections": connections,
        "requests": done,
        "failed": failed,
        "a second": round(done / (time.perf_counter() - begin), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("rows")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=8300)
    parser.add_argument("--only", default="steady,batches,closed,memory")
    given = parser.parse_args()
    import danlu

    model, run, port = danlu.load(given.run), given.run, given.port
    names = [field.name for field in model.fields]
    rows = model.read(given.rows, say=lambda note: None).rows if Path(given.rows).suffix != ".json" else None
    frame = rows if rows is not None else pl.read_json(given.rows)
    records = frame.select(names).head(2000).to_dicts()
    one = [request_of(record) for record in records]
    many = [request_of(records[start : start + 250]) for start in range(0, len(records) - 249, 250)]
    parts, found = given.only.split(","), json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    serve = ["-m", "danlu", "serve", f"model={run}", "--port", str(port)]
    found |= {"machine": machine(), "load": [round(each, 1) for each in os.getloadavg()], "run": Path(run).name}

    def rounds(task: Any, key: Any) -> Any:
        """The best of several rounds: others on the machine only ever slow it down."""
        return min((asyncio.run(task()) for _ in range(given.rounds)), key=key)

    with service(serve, port) as process:
        asyncio.run(closed(port, one, 8, 2))
        if "steady" in parts:
            found["steady"] = rounds(lambda: steady(port, one, 200, given.seconds), lambda told: told["ms"]["p99"])
        if "batches" in parts:
            told = rounds(lambda: closed(port, many, 2, given.seconds), lambda told: -told["a second"])
            found["batches"] = {**told, "rows a request": 250, "rows a second": round(250 * told["a second"])}
        if "closed" in parts:
            found["closed"] = {
                "danlu serve": rounds(lambda: closed(port, one, 64, given.seconds), lambda told: -told["a second"])
            }
        if "memory" in parts:
            sizes = []
            for _ in range(4):
                asyncio.run(closed(port, one, 16, 600, given.requests // 4))
                sizes.append(round(process.memory_info().rss / 2**20, 1))
            found["memory"] = {"requests": given.requests, "MiB after each quarter": sizes}
    if "closed" in parts:
        others = {
            "danlu serve, batches of 1": [*serve, "--batch-rows", "1", "--batch-wait", "0"],
            "Starlette that calls respond": ["-c", BARE, "respond", run, str(port)],
            "Starlette with a fixed answer": ["-c", BARE, "fixed", run, str(port)],
        }
        for name, command in others.items():
            with service(command, port):
                asyncio.run(closed(port, one, 8, 1))
                found["closed"][name] = rounds(
                    lambda: closed(port, one, 64, given.seconds), lambda told: -told["a second"]
                )
    print(json.dumps(found, indent=1))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
