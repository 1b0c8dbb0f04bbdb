"""A shadow that is away or hangs, behind the real command: not felt, given up on, bounded in memory."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from serve_world import (
    PATIENCE_SECONDS,
    Asked,
    Says,
    ThreadedOrigin,
    always,
    ask,
    config_text,
    rules,
    wait_until,
)
from servers import Serving, UnderstudyServe

from understudy.shadow.target import OPEN_SECONDS, TRIPS_AFTER


@contextmanager
def silent_port() -> Iterator[int]:
    """A service that accepts (the kernel does) and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        yield listener.getsockname()[1]


def three_on_one_connection(port: int) -> list[bytes]:
    """The bodies of the answers to three requests on one connection, each within a minute."""
    bodies = []
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
        reader = client.makefile("rb")
        for number in range(3):
            client.sendall(f"GET /orders/{number} HTTP/1.1\r\nHost: shop\r\n\r\n".encode())
            size = 0
            while (line := reader.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    size = int(line.split(b":")[1])
            bodies.append(reader.read(size))
        reader.close()
    return bodies


def failures(serving: Serving) -> dict[str, int]:
    failed: dict[str, int] = serving.report()["mirror"]["failed"]
    return failed


@pytest.mark.parametrize("timeout", ["10m", "1s"])
def test_a_shadow_that_never_answers_is_not_felt(timeout: str, understudy_serve: UnderstudyServe) -> None:
    """The second and third request on a connection do not wait for the copies before (as NGINX's do), which
    end in time.
    """
    with (
        ThreadedOrigin(answer=lambda asked: Says(body=asked.path.encode())).listening() as primary,
        silent_port() as shadow,
    ):
        limits = {"timeout": timeout, "control": 0}
        serving = understudy_serve(config_text(primary.port, shadow, shadow=limits))
        bodies = three_on_one_connection(serving.proxy_port)
        assert bodies == [b"/orders/0", b"/orders/1", b"/orders/2"]
        if timeout == "1s":
            wait_until(lambda: failures(serving) == {"timeout": 3}, "the end of three copies")


def test_a_dead_shadow_costs_a_few_copies_and_then_none(understudy_serve: UnderstudyServe) -> None:
    """The breaker opens; what it drops is counted; requests are answered as ever."""
    with always().listening() as primary, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        serving = understudy_serve(config_text(primary.port, nobody.getsockname()[1], shadow={"control": 0}))
        started = time.monotonic()
        for _ in range(TRIPS_AFTER):
            assert ask(serving.proxy_port)[0] == 200
        wait_until(lambda: tries(serving) == 0, "refused copies")
        for _ in range(20):
            assert ask(serving.proxy_port)[0] == 200
        wait_until(lambda: dropped(serving) + tries(serving) == 20, "every copy's end")
        assert tries(serving) <= (time.monotonic() - started) / OPEN_SECONDS
        assert serving.report()["verdict"] == "undecided"


def dropped(serving: Serving) -> int:
    """Copies that the breaker kept from the service."""
    found: int = serving.report()["mirror"]["dropped"].get("breaker", 0)
    return found


def tries(serving: Serving) -> int:
    """Copies that were refused after the breaker had opened: one each `OPEN_SECONDS` at most."""
    return failures(serving)["connect_refused"] - TRIPS_AFTER


def test_memory_is_bounded_by_the_budget(understudy_serve: UnderstudyServe) -> None:
    """A thousand uploads whose copies go nowhere: resident memory grows by the budget, not by the uploads."""
    budget = 16
    upload = b"x" * 128 * 1024

    def consume(asked: Asked) -> Says:
        primary.asked.clear()
        return Says()

    with ThreadedOrigin(answer=consume).listening() as primary, silent_port() as shadow:
        serving = understudy_serve(
            config_text(
                primary.port,
                shadow,
                shadow={"budget": f"{budget}MiB", "in_flight": 1000, "timeout": "10m"},
                routes=[{**rules()["routes"][0], "mirror_methods": ["POST"]}],
            )
        )
        wait_until(lambda: resident_mib(serving) > 0, "the worker's memory")
        before = resident_mib(serving)
        with socket.create_connection(("127.0.0.1", serving.proxy_port), timeout=PATIENCE_SECONDS) as client:
            reader = client.makefile("rb")
            for _ in range(1000):
                head = f"POST /u HTTP/1.1\r\nHost: shop\r\nContent-Length: {len(upload)}\r\n\r\n"
                client.sendall(head.encode() + upload)
                assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
                size = 0
                while (line := reader.readline()) != b"\r\n":
                    size = int(line.split(b":")[1]) if line.lower().startswith(b"content-length") else size
                reader.read(size)
            reader.close()
        wait_until(lambda: serving.report()["mirror"]["eligible"] == 1000, "all uploads")

        def booked() -> int:
            mirror = serving.report()["mirror"]
            gone = sum(mirror["dropped"].values()) + sum(mirror["skipped"].values())
            return int(mirror["sent"] + gone)

        wait_until(lambda: booked() == 1000, "what became of each")
        assert serving.report()["mirror"]["sent"] * len(upload) <= budget << 20
        wait_until(lambda: gauge(serving, "understudy_requests_total") == 1000, "a gauge from afterwards")
        assert resident_mib(serving) - before < 2 * budget + 32


def resident_mib(serving: Serving) -> float:
    return gauge(serving, "understudy_process_resident_memory_bytes") / (1 << 20)


def gauge(serving: Serving, name: str) -> float:
    """The value of a metric that has one line; 0 while it has none."""
    found = re.search(rf"^{name}\{{.*\}} (\S+)$", serving.admin("/metrics").body.decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0
