"""How fast the client library answers: 10,000 flags, one core, by its public questions.

`python benchmarks/client.py` prints a table in Markdown. A server in a process of its own gives the
definition; rates are evaluations in a CPU second, every flag and every unit in turn. While new rules are
taken over, one thread goes on asking, and the longest answers are told too.
"""

import asyncio
import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from evaluating import FLAGS, RULES, contexts, document, flag, keys, resident_mib, settle

CALLS = 40_000
ROUNDS = 5
GOAL = 200_000


def serve() -> None:
    """Gives the definition; each POST makes another version of it, with one flag changed."""
    made = document()
    bodies = [json.dumps(made).encode()]
    made["flags"]["flag-7"] = flag(None)
    bodies.append(json.dumps(made).encode())
    version = 1

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            is_definition = self.path.startswith("/api/v1/sync/flags.json")
            body = bodies[version % 2] if is_definition else b""
            is_known = self.headers.get("If-None-Match") == f'"{version}"'
            self.send_response(304 if is_known else 200 if is_definition else 404)
            self.send_header("ETag", f'"{version}"')
            self.send_header("X-Understudy-Version", str(version))
            self.send_header("Content-Length", "0" if is_known else str(len(body)))
            self.end_headers()
            if not is_known:
                self.wfile.write(body)

        def do_POST(self) -> None:
            nonlocal version
            version += 1
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: the output is the port alone."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


def rate(ask: Callable[[str, dict[str, Any]], object], flags: list[str], calls: int = CALLS) -> float:
    """The best of some rounds."""
    given = contexts()
    pairs = [(flags[n % len(flags)], given[n % len(given)]) for n in range(calls)]
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.process_time()
        for key, context in pairs:
            ask(key, context)
        best = min(best, time.process_time() - begun)
    return calls / best


def measure(port: int) -> dict[str, str]:
    """Rows of the table."""
    from understudy import Client

    settle()
    before, begun = resident_mib(), time.monotonic()
    client = Client(f"http://127.0.0.1:{port}", poll=0.5)
    if not client.wait_ready(60):
        raise SystemExit(f"no flags: {client.status()}")
    found = {f"from nothing to {FLAGS:,} flags": f"{time.monotonic() - begun:.2f} s"}

    def boolean(key: str, context: dict[str, Any]) -> object:
        return client.boolean(key, context["targetingKey"], False, email=context["email"], age=context["age"])

    def whole(key: str, context: dict[str, Any]) -> object:
        return client.boolean(key, context["targetingKey"], False, **context)

    def details(key: str, context: dict[str, Any]) -> object:
        return client.details(key, context["targetingKey"], False, **context)

    for kind in RULES:
        asked = boolean if kind in ("static", "targeting", "fractional") else whole
        found[f"`boolean`, {kind}"] = f"{rate(asked, keys(kind)):,.0f}/s"
    every = [f"flag-{n}" for n in range(FLAGS)]
    found["`boolean`, all kinds in turn, six attributes"] = f"{rate(whole, every):,.0f}/s"
    found["`details`, the same"] = f"{rate(details, every, CALLS // 4):,.0f}/s"
    client.on_exposure(lambda _: None)
    found["`boolean`, the same, with a hook for exposures"] = f"{rate(whole, every):,.0f}/s"
    found["OpenFeature's SDK over the provider, the same"] = f"{sdk_rate(port, every):,.0f}/s"
    found["memory"] = f"{resident_mib() - before:.0f} MiB"
    found |= while_changing(client, port)
    client.close()
    found["`await boolean` of AsyncClient, all kinds in turn"] = (
        f"{asyncio.run(async_rate(port, every)):,.0f}/s"
    )
    return found


def sdk_rate(port: int, every: list[str]) -> float:
    from openfeature import api
    from openfeature.evaluation_context import EvaluationContext

    from understudy import Client
    from understudy.client.openfeature import UnderstudyProvider

    api.set_provider_and_wait(UnderstudyProvider(Client(f"http://127.0.0.1:{port}"), ready_seconds=60))
    asking = api.get_client()

    def ask(key: str, context: dict[str, Any]) -> object:
        return asking.get_boolean_value(key, False, EvaluationContext(context["targetingKey"], context))

    found = rate(ask, every, CALLS // 20)
    api.shutdown()
    return found


def while_changing(client: Any, port: int) -> dict[str, str]:
    """The longest answers while five versions of the rules are taken over."""
    waits: list[float] = []
    changes = 0
    done = threading.Event()

    def told(_: object) -> None:
        nonlocal changes
        changes += 1
        if changes == 5:
            done.set()
        else:
            turn(port)

    client.on_change(told)
    turn(port)
    begun = time.monotonic()
    while not done.is_set() and time.monotonic() - begun < 30:
        at = time.perf_counter()
        client.boolean("flag-3", "ann", False)
        waits.append(time.perf_counter() - at)
    waits.sort()
    p999, most = waits[int(len(waits) * 0.999)], waits[-1]
    title = f"an answer while rules change ({changes} times, {len(waits):,} answers)"
    return {title: f"p99.9 {p999 * 1e6:.0f} µs, longest {most * 1e3:.1f} ms"}


def turn(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/")
    connection.getresponse().read()
    connection.close()


async def async_rate(port: int, every: list[str]) -> float:
    from understudy import AsyncClient

    given = contexts()
    pairs = [(every[n % len(every)], given[n % len(given)]) for n in range(CALLS)]
    async with AsyncClient(f"http://127.0.0.1:{port}") as client:
        if not await client.wait_ready(60):
            raise SystemExit(f"no flags: {client.status()}")
        begun = time.process_time()
        for key, context in pairs:
            await client.boolean(key, context["targetingKey"], False, **context)
        return CALLS / (time.process_time() - begun)


def main() -> None:
    if sys.argv[1:] == ["--serve"]:
        serve()
        return
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            rows = measure(int(server.stdout.readline()))
        finally:
            server.terminate()
    from understudy.decide import logic

    form = "compiled" if str(Path(str(logic.__file__)).suffix) == ".so" else "Python"
    print(f"| client library, {FLAGS:,} flags ({form}); wanted ≥ {GOAL:,}/s | |\n|---|---:|")
    print("\n".join(f"| {title} | {figure} |" for title, figure in rows.items()))


if __name__ == "__main__":
    main()
