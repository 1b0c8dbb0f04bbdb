"""The kill switch of one host, seen at the upstream: by file, by command, by signal, with all else dead."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serve_world import (
    Load,
    ThreadedOrigin,
    always,
    ask,
    config_text,
    control_of,
    end_by_force,
    flag,
    wait_until,
    workers_of,
)
from servers import Serving, UnderstudyServe
from store_servers import postgres_server, redis_server
from typer.testing import CliRunner

from understudy.cli import app

QUIET_REQUESTS = 5
"""So many in a row of each client that avoid the killed variant: every worker that has a client follows."""


def text(primary: ThreadedOrigin, canary: ThreadedOrigin, **more: Any) -> str:
    """Two workers; everybody meets the canary unless flag ``shop`` is killed."""
    shop = flag("canary", metadata={"safeVariant": "stable"})
    return config_text(primary.port, canary.port, flags={"shop": shop}, **{"workers": 2, **more})


@contextlib.contextmanager
def origins() -> Iterator[tuple[ThreadedOrigin, ThreadedOrigin]]:
    with always().listening() as primary, always().listening() as canary:
        yield primary, canary


def kill_path(serving: Serving) -> Path:
    return serving.folder / "understudy.kill"


def wait_until_left(canary: ThreadedOrigin, load: Load) -> None:
    """Wait until request after request is answered without the canary. How soon is for the benchmarks."""

    def is_left() -> bool:
        before = len(canary.asked)
        load.until_each_answered(QUIET_REQUESTS)
        return len(canary.asked) == before

    wait_until(is_left, "the end of the killed variant")


def written(path: Path, content: bytes) -> None:
    """*path* has *content*, and never had less: a file that is just being written kills nobody."""
    beside = path.with_name("beside")
    beside.write_bytes(content)
    beside.rename(path)


def is_asked(canary: ThreadedOrigin) -> bool:
    """Whether a request has reached the canary within a moment."""
    count = len(canary.asked)
    time.sleep(0.05)
    return len(canary.asked) > count


@pytest.fixture(scope="module")
def scene(understudy_serve: UnderstudyServe) -> Iterator[tuple[Serving, ThreadedOrigin, Load]]:
    """One host under load for the tests that leave it as they found it."""
    with origins() as (primary, canary):
        serving = understudy_serve(text(primary, canary))
        with Load(serving.proxy_port, clients=12, pause_seconds=0.02) as load:
            yield serving, canary, load
        assert load.tally.failed == []


@pytest.fixture
def host(scene: tuple[Serving, ThreadedOrigin, Load]) -> Iterator[tuple[Serving, ThreadedOrigin, Load]]:
    """It, with nothing killed before and after."""
    serving, canary, load = scene
    wait_until(lambda: is_asked(canary), "a revived canary")
    yield serving, canary, load
    with contextlib.suppress(FileNotFoundError):
        kill_path(serving).unlink()


def test_a_line_in_the_file_kills(host: tuple[Serving, ThreadedOrigin, Load]) -> None:
    """At the upstream, with nobody asked but the disk; taking it out revives; the audit has both."""
    serving, canary, load = host

    def deeds() -> list[tuple[str, str]]:
        entries = serving.admin("/api/v1/audit").json()["entries"]
        return [(entry["action"], entry["target"]) for entry in entries if entry["action"].startswith("host")]

    before = deeds()
    written(kill_path(serving), b"shop\n")
    wait_until_left(canary, load)
    told = f"shop killed on this host by {kill_path(serving)}"
    wait_until(lambda: serving.admin("/readyz").json()["checks"]["kill_file"]["detail"] == told, "the kill")
    assert serving.admin("/readyz").status == 200
    kill_path(serving).unlink()
    wait_until(lambda: is_asked(canary), "the canary again")
    wait_until(lambda: "kill_file" not in serving.admin("/readyz").json()["checks"], "silence")
    both = [("host.kill", "shop"), ("host.revive", "")]
    wait_until(lambda: deeds() == [*before, *both], "both entries")


def test_the_host_answers_sdks_with_the_safe_variant(host: tuple[Serving, ThreadedOrigin, Load]) -> None:
    """OFREP and decide tell of it; the rules document, which is everybody's, does not change."""
    serving, _, _ = host
    kill_path(serving).write_text("shop\n")
    path = "/ofrep/v1/evaluate/flags/shop"

    def answer() -> Any:
        return serving.admin(path, method="POST", body={"context": {"targetingKey": "anna"}}).json()

    wait_until(lambda: answer()["variant"] == "stable", "the safe variant")
    assert answer()["metadata"]["killed"] is True
    assert serving.admin("/api/v1/decide/shop/anna").json()["variant"] == "stable"
    assert serving.admin("/api/v1/rules").json()["killed"] == []
    metrics = serving.admin("/metrics").body.decode()
    assert 'understudy_killed{by="kill_file",flag="shop"} 1.0' in metrics


def test_garbage_revives_nobody(host: tuple[Serving, ThreadedOrigin, Load]) -> None:
    """It is told and counted; removing the file revives."""
    serving, canary, load = host
    written(kill_path(serving), b"*\n")
    wait_until_left(canary, load)
    written(kill_path(serving), b"\xff\xfe\0garbage")
    wait_until(
        lambda: "understudy_kill_file_trouble 1.0" in serving.admin("/metrics").body.decode(), "the trouble"
    )
    for _ in range(10):
        assert not is_asked(canary)
    assert "line 1: is not text" in serving.admin("/readyz").json()["checks"]["kill_file"]["detail"]
    kill_path(serving).unlink()
    wait_until(lambda: is_asked(canary), "the canary again")
    mended = "understudy_kill_file_trouble 0.0"
    wait_until(lambda: mended in serving.admin("/metrics").body.decode(), "the end of it")
    assert "understudy_kill_file_troubles_total 1.0" in serving.admin("/metrics").body.decode()


def test_a_signal_to_the_supervisor_kills_every_flag(host: tuple[Serving, ThreadedOrigin, Load]) -> None:
    """It writes the file; the same signal to a worker is nothing."""
    serving, canary, load = host
    supervisor = serving.server.process.pid
    for pid in workers_of(supervisor, serving.admin_port):
        os.kill(pid, signal.SIGRTMIN)
    os.kill(supervisor, signal.SIGRTMIN)
    wait_until_left(canary, load)
    assert kill_path(serving).read_text() == "*\n"


def test_the_command_needs_nobody_to_answer(host: tuple[Serving, ThreadedOrigin, Load]) -> None:
    """`kill --local` with the control process stopped; `revive --local` undoes it."""
    serving, canary, load = host
    control = control_of(serving.server.process.pid, serving.admin_port)
    config = str(serving.folder / "understudy.yaml")
    os.kill(control, signal.SIGSTOP)
    try:
        done = CliRunner().invoke(app, ["kill", "--local", "-c", config, "shop"], standalone_mode=False)
        assert done.exit_code == 0
        assert f"shop is killed on this host by {kill_path(serving)}" in done.output
        wait_until_left(canary, load)
        CliRunner().invoke(app, ["revive", "--local", "-c", config, "shop"], standalone_mode=False)
        wait_until(lambda: is_asked(canary), "the canary again")
        assert not kill_path(serving).exists()
    finally:
        os.kill(control, signal.SIGCONT)


def test_a_file_kills_with_every_store_and_the_control_process_stopped(
    understudy_serve: UnderstudyServe,
) -> None:
    """Redis and PostgreSQL are frozen; it outlives workers, control process and the whole program."""
    with postgres_server() as sql, redis_server() as redis, origins() as (primary, canary):
        store = {
            "sql": f"postgresql://understudy@127.0.0.1:{sql.port}/postgres",
            "redis": f"redis://127.0.0.1:{redis.port}",
        }
        config = text(primary, canary, store=store)
        serving = understudy_serve(config)
        supervisor = serving.server.process.pid
        control = control_of(supervisor, serving.admin_port)
        with Load(serving.proxy_port, clients=12, pause_seconds=0.02) as load:
            load.until_answered(50)
            for server in (sql, redis):
                server.freeze()
            os.kill(control, signal.SIGSTOP)
            kill_path(serving).write_text("shop\n")
            wait_until_left(canary, load)
        assert load.tally.failed == []
        os.kill(control, signal.SIGCONT)
        before = workers_of(supervisor, serving.admin_port)
        end_by_force(before[0])
        wait_until(lambda: set(workers_of(supervisor, serving.admin_port)) - set(before), "another worker")
        for server in (sql, redis):
            server.thaw()
        wait_until(serving.is_ready, "all workers")
        asked = len(canary.asked)
        assert {ask(serving.proxy_port)[0] for _ in range(20)} == {200}
        assert serving.stop() == 0
        again = understudy_serve(config, folder=serving.folder)
        assert {ask(again.proxy_port)[0] for _ in range(20)} == {200}
        assert len(canary.asked) == asked
