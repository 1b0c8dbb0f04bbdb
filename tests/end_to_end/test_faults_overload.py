"""Too many connections, too few descriptors, too little memory: health answers, nothing spins."""

import http.client
import json
import os
import re
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from serve_world import (
    PATIENCE_SECONDS,
    Asked,
    Says,
    ThreadedOrigin,
    always,
    ask,
    config_text,
    wait_until,
    workers_of,
)
from servers import Serving, UnderstudyServe

FILES = 256
LOOK_SECONDS = 0.1
"""How often a worker weighs what it holds."""

SKIPPED = 'understudy_mirror_total{outcome="skipped_memory",service="v2"}'
SENT = 'understudy_mirror_total{outcome="sent",service="v2"}'
ANSWERED = 'understudy_mirror_total{outcome="answered",service="v2"}'
GIVEN_UP = 'understudy_mirror_total{outcome="failed_memory",service="v2"}'
PAUSES = 'understudy_accept_pauses_total{reason="connections"}'
STAGE = 'understudy_overload_stage{worker="0"}'
REQUEST = b"GET /orders/1 HTTP/1.1\r\nHost: shop\r\n\r\n"


def metric(serving: Serving, sample: str) -> float:
    """The value of *sample* in a scrape; 0 when it is absent."""
    text = serving.admin("/metrics").body.decode()
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def cpu_seconds(pid: int) -> float:
    """What *pid* has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def share_of_a_core(pid: int) -> float:
    """What *pid* uses while nothing happens, over half a second or however long this process sleeps."""
    before, started = cpu_seconds(pid), time.monotonic()
    time.sleep(0.5)
    return (cpu_seconds(pid) - before) / (time.monotonic() - started)


def assert_at_rest(pid: int) -> None:
    """What spins never comes to rest; what has just been busy does."""
    wait_until(lambda: share_of_a_core(pid) < 0.2, "a worker that does nothing")


def connected(port: int, number: int, stack: ExitStack) -> list[socket.socket]:
    """So many client connections, each established by the kernel at least."""
    return [
        stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS))
        for _ in range(number)
    ]


def status_of(client: socket.socket) -> int:
    """The status of the next answer on *client*, whose body is read too."""
    answer = http.client.HTTPResponse(client)
    answer.begin()
    answer.read()
    return answer.status


def test_at_the_cap_clients_wait_and_idle_ones_make_room(understudy_serve: UnderstudyServe) -> None:
    """The 21st waits in the kernel, at no cost, and is served once an idle one was closed."""
    with always().listening() as primary, always().listening() as shadow, ExitStack() as stack:
        # What has connected and not asked yet is closed after the time of a head.
        limits = {"client_connections": 20, "head_timeout": f"{PATIENCE_SECONDS:g}s"}
        config = config_text(primary.port, shadow.port, limits=limits)
        serving = understudy_serve(config)
        (worker,) = workers_of(serving.server.process.pid, serving.admin_port)
        clients = connected(serving.proxy_port, 60, stack)
        wait_until(lambda: metric(serving, "understudy_client_connections") == 20, "a full house")
        assert serving.admin("/healthz").status == 200
        assert serving.admin("/readyz").status == 200
        for client in clients:
            client.sendall(REQUEST)
        assert [status_of(client) for client in clients] == [200] * 60
        wait_until(lambda: metric(serving, PAUSES) >= 1, "a pause in accepting")
        assert_at_rest(worker)
    wait_until(lambda: metric(serving, "understudy_client_connections") == 0, "an empty house")
    assert ask(serving.proxy_port)[0] == 200
    wait_until(lambda: metric(serving, 'understudy_accepting{worker="0"}') == 1, "open doors")


def test_out_of_descriptors(understudy_serve: UnderstudyServe) -> None:
    """Requests that find none get 503, counted; health answers, nothing spins, who connects waits; when
    descriptors come back, all is as before.
    """
    release = threading.Event()

    def held(asked: Asked) -> Says:
        if asked.path == "/held":
            release.wait(5 * PATIENCE_SECONDS)
        return Says()

    with ThreadedOrigin(answer=held).listening() as primary, always().listening() as shadow:
        patient = {"url": f"http://127.0.0.1:{primary.port}", "first_byte_timeout": "10m"}
        config = config_text(
            primary.port,
            shadow.port,
            services={"v1": patient},
            flags={},
            routes=[{"path": "/", "serve": "v1"}],
            limits={"client_connections": 1000},
        )
        serving = understudy_serve(config, files=FILES)
        (worker,) = workers_of(serving.server.process.pid, serving.admin_port)
        with ExitStack() as stack:
            clients = connected(serving.proxy_port, 180, stack)
            wait_until(lambda: metric(serving, "understudy_client_connections") == 180, "all inside")
            for client in clients:
                client.sendall(REQUEST.replace(b"/orders/1", b"/held"))
            wait_until(
                lambda: metric(serving, 'understudy_errors_total{reason="no_files"}') > 0,
                "requests without files",
            )
            late = connected(serving.proxy_port, 20, stack)
            wait_until(lambda: metric(serving, 'understudy_accepting{worker="0"}') == 0, "shut doors")
            assert_at_rest(worker)
            assert serving.admin("/healthz").status == 200
            assert serving.admin("/readyz").status == 200
            release.set()
            statuses = [status_of(client) for client in clients]
            assert set(statuses) == {200, 503}
            for client in late:
                client.sendall(REQUEST)
            for client in clients:
                client.close()
            assert [status_of(client) for client in late] == [200] * 20
        wait_until(lambda: metric(serving, 'understudy_accepting{worker="0"}') == 1, "open doors")
        assert [ask(serving.proxy_port)[0] for _ in range(20)] == [200] * 20
        wait_until(
            lambda: metric(serving, 'understudy_accept_pauses_total{reason="files"}') >= 1, "the pause"
        )
        refused = 'understudy_errors_total{reason="no_files"}'
        wait_until(lambda: metric(serving, refused) == statuses.count(503), "the count of refusals")


def resident_mib(pid: int) -> int:
    """What *pid* holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") >> 20


def post(port: int, body: bytes) -> int:
    """The status of one POST on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("POST", "/orders", body)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def test_short_of_memory_copies_go_first(understudy_serve: UnderstudyServe) -> None:
    """A shadow that hangs fills the worker with copies: no more are sent, every request is served, and what
    copies held goes back to the system when they end.
    """
    release = threading.Event()

    def hangs(asked: Asked) -> Says:
        release.wait(5 * PATIENCE_SECONDS)
        return Says()

    with always().listening() as primary, ThreadedOrigin(answer=hangs).listening() as shadow:
        config = config_text(
            primary.port,
            shadow.port,
            routes=[{"path": "/", "flag": "shop", "unit": "ip", "mirror_methods": ["POST"]}],
            shadow={"in_flight": 200, "budget": "256MiB", "timeout": "10m", "control": 0},
            limits={"memory": "96MiB"},
        )
        serving = understudy_serve(config)
        (worker,) = workers_of(serving.server.process.pid, serving.admin_port)
        base = resident_mib(worker)
        statuses: list[int] = []
        most = base
        while metric(serving, SKIPPED) == 0:
            statuses.append(post(serving.proxy_port, bytes(1 << 20)))
            held = resident_mib(worker)
            if held > 80:
                time.sleep(2 * LOOK_SECONDS)  # else what comes between two looks passes the whole stage
            most = max(most, held)
            assert len(statuses) < 250, "copies were never given up"
        assert set(statuses) == {200}
        assert most <= 96 + 24, "what comes between two looks at the memory is on top"
        release.set()
        wait_until(lambda: resident_mib(worker) < base + 16, "the memory of ended copies")
        wait_until(lambda: metric(serving, STAGE) == 0, "the end of the shortage")
        # Copies that fill the worker past its limit between two looks at the memory are given up.
        wait_until(
            lambda: metric(serving, ANSWERED) + metric(serving, GIVEN_UP) == metric(serving, SENT),
            "the end of all copies",
        )
        skipped, answered = metric(serving, SKIPPED), metric(serving, ANSWERED)
        assert post(serving.proxy_port, b"x") == 200
        wait_until(lambda: metric(serving, ANSWERED) == answered + 1, "a copy as ever")
        assert metric(serving, SKIPPED) == skipped


def test_over_the_limit_requests_are_refused(understudy_serve: UnderstudyServe) -> None:
    """A worker that holds more than it may at rest refuses all, says when to try again, and is alive."""
    with always().listening() as primary, always().listening() as shadow:
        config = config_text(primary.port, shadow.port, limits={"memory": "32MiB"})
        serving = understudy_serve(config)
        wait_until(lambda: metric(serving, STAGE) == 2, "the last stage")
        status, body = ask(serving.proxy_port)
        assert (status, json.loads(body)["reason"]) == (503, "overload")
        assert serving.admin("/healthz").status == 200
        assert serving.admin("/readyz").status == 200
        assert primary.requests() == []
        wait_until(lambda: metric(serving, 'understudy_errors_total{reason="overload"}') == 1, "its count")
