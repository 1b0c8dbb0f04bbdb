"""A changed configuration file takes effect without a restart and without closing a connection."""

import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from serve_world import (
    PATIENCE_SECONDS,
    Load,
    Says,
    all_gone,
    always,
    answer_on,
    ask,
    config_text,
    control_of,
    end_by_force,
    followed,
    wait_until,
    workers_of,
)
from servers import AdminAnswer, Serving, UnderstudyServe
from test_serve_restarts import asked_for


def rewrite(serving: Serving, found: str, put: str) -> None:
    """Change the file as an editor does."""
    file = serving.folder / "understudy.yaml"
    text = file.read_text()
    assert found in text
    file.write_text(text.replace(found, put))


def reloads(serving: Serving, result: str) -> int:
    """``understudy_settings_reloads_total``."""
    text = serving.admin("/metrics").body.decode()
    found = re.search(rf'^understudy_settings_reloads_total{{result="{result}"}} (\S+)$', text, re.MULTILINE)
    if found is None:  # not yet
        raise KeyError(text)
    return int(float(found[1]))


def reload(serving: Serving) -> Any:
    """By the admin API; what it answers to a file that is new. All workers follow it then."""
    answers: list[AdminAnswer] = []

    def once() -> AdminAnswer:
        answers.append(serving.admin("/api/v1/reload", method="POST"))
        return answers[-1]

    applied = followed(once).json()
    # Again, a file changes nothing.
    return answers[0].json() | {key: applied[key] for key in ("applied", "workers")}


def test_a_service_moves_under_load(understudy_serve: UnderstudyServe) -> None:
    """Every request is answered, by the old origin before and by the new one after; nobody reconnects."""
    first, second = always(Says(body=b"first")), always(Says(body=b"second"))
    with first.listening(), second.listening():
        serving = understudy_serve(config_text(first.port, first.port, workers=2))
        workers = workers_of(serving.server.process.pid, serving.admin_port)
        with Load(serving.proxy_port, clients=6) as load:
            load.until_answered(100)
            rewrite(serving, f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}")
            done = reload(serving)
            assert {ask(serving.proxy_port)[1] for _ in range(10)} == {b"second"}
            load.until_answered(100)
            tally = load.stop()
        asked_before = len(first.requests())
        assert (done["changed"], done["workers"], done["applied"]) == (["services"], 2, 2)
        assert (tally.failed, tally.refused) == ([], 0)
        assert {ask(serving.proxy_port)[1] for _ in range(10)} == {b"second"}
        assert len(first.requests()) == asked_before
        assert workers_of(serving.server.process.pid, serving.admin_port) == workers


def test_a_stream_lives_on(understudy_serve: UnderstudyServe) -> None:
    """An answer that has begun comes to its end from the service as it was, though that is gone now."""
    go_on = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener, always().listening() as other:
        port = listener.getsockname()[1]

        def stream() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n"
                    b"9\r\ndata: 1\n\n\r\n"
                )
                go_on.wait(PATIENCE_SECONDS)
                connection.sendall(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

        thread = threading.Thread(target=stream, daemon=True)
        thread.start()
        serving = understudy_serve(config_text(port, other.port))
        with socket.create_connection(("127.0.0.1", serving.proxy_port), timeout=PATIENCE_SECONDS) as client:
            client.sendall(b"GET /events HTTP/1.1\r\nHost: shop\r\n\r\n")
            read = b""
            while b"data: 1" not in read:
                read += client.recv(65536)
            rewrite(serving, f"127.0.0.1:{port}", f"127.0.0.1:{other.port}")
            assert reload(serving)["changed"] == ["services"]
            assert ask(serving.proxy_port)[0] == 200
            go_on.set()
            while b"\r\n0\r\n\r\n" not in read:
                read += client.recv(65536)
            assert b"data: 2" in read
            client.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        thread.join(PATIENCE_SECONDS)


def test_limits_shadow_and_trust_change_in_place(understudy_serve: UnderstudyServe) -> None:
    """On a connection that was open before, too."""
    with always().listening() as primary, always().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port, limits={"target_bytes": 300}))
        with socket.create_connection(("127.0.0.1", serving.proxy_port), timeout=PATIENCE_SECONDS) as client:

            def get(path: str) -> int:
                client.sendall(f"GET {path} HTTP/1.1\r\nHost: s\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n".encode())
                return answer_on(client)[0]

            assert get("/1") == 200
            rewrite(serving, 'limits: {"target_bytes": 300}', 'limits: {"target_bytes": 256}')
            rewrite(serving, 'shadow: {"timeout": "60s"}', 'shadow: {"timeout": "60s", "control": 1.0}')
            with (serving.folder / "understudy.yaml").open("a") as file:
                file.write("trusted_proxies: [127.0.0.0/8]\n")
            assert reload(serving)["changed"] == ["shadow", "limits", "trusted_proxies"]
            assert get("/2") == 200
            assert get("/" + "x" * 280) == 414
        wait_until(lambda: primary.requests("control"), "a control copy")
        told = [asked.fields["x-forwarded-for"] for asked in primary.requests()]
        assert told == ["127.0.0.1", "9.9.9.9, 127.0.0.1"]


def test_a_wrong_file_changes_nothing(understudy_serve: UnderstudyServe) -> None:
    """By the API with every path, by SIGHUP in the log; both are counted, and the right file mends it."""
    with always().listening() as primary, always().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port))
        rewrite(serving, "services:", "limits: {head_timeout: soon}\nservces: {}\nservices:")
        answer = serving.admin("/api/v1/reload", method="POST")
        assert answer.status == 422
        assert [error["path"] for error in answer.json()["errors"]] == ["servces", "limits.head_timeout"]
        serving.server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: reloads(serving, "refused") == 2, "the second refusal")
        told = "reload refused, nothing was changed: servces: unknown key"
        wait_until(lambda: told in serving.server.log.read_text(), "the reason in the log")
        assert ask(serving.proxy_port)[0] == 200
        rewrite(serving, "servces: {}\n", "")
        rewrite(serving, "soon", "5s")
        serving.server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: reloads(serving, "applied") == 1, "the reload")
        line = re.compile("reloaded: changed limits; [01] of 1 workers follow")  # a busy one is late
        wait_until(lambda: line.search(serving.server.log.read_text()), "its line in the log")


def test_a_service_that_the_rules_need_cannot_go(understudy_serve: UnderstudyServe) -> None:
    """The reason names the rules and the mend; once the rules have changed, it can."""
    with always().listening() as primary, always().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port))
        file = serving.folder / "understudy.yaml"
        gone = '"v2": {"url": "http://127.0.0.1:%d"}' % shadow.port  # noqa: UP031
        rewrite(serving, ", " + gone, "")
        text = file.read_text()
        kept = [line for line in text.splitlines() if not line.startswith(("flags:", "routes:"))]
        file.write_text("\n".join([*kept, "routes: [{path: /, serve: v1}]"]) + "\n")
        answer = serving.admin("/api/v1/reload", method="POST")
        assert answer.status == 422
        assert {error["path"] for error in answer.json()["errors"]} == {"services"}
        assert "rules version 1 need what is gone: flags.shop" in answer.json()["errors"][0]["message"]
        document = {"routes": [{"path": "/", "serve": "v1"}]}
        put = serving.admin("/api/v1/rules", method="PUT", body=document, headers={"If-Match": "*"})
        assert put.status == 200, put.body
        assert reload(serving)["changed"] == ["services"]
        assert ask(serving.proxy_port)[0] == 200


def test_what_waits_for_a_restart_is_named(understudy_serve: UnderstudyServe) -> None:
    """And rules in the file stay a seed."""
    with always().listening() as primary, always().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port))
        rewrite(serving, "services:", "workers: 2\nservices:")
        rewrite(serving, '"defaultVariant": "dark"', '"defaultVariant": "canary"')
        done = reload(serving)
        assert (done["changed"], done["waiting"]) == ([], ["workers"])
        assert "only the seed of an empty store" in done["notes"][0]
        assert ask(serving.proxy_port)[0] == 200
        assert [asked.variant for asked in primary.requests()] == ["dark"]


def test_later_processes_have_the_reloaded_settings(understudy_serve: UnderstudyServe) -> None:
    """A worker or control process that is started anew, for whatever reason, does not fall back."""
    first, second = always(Says(body=b"first")), always(Says(body=b"second"))
    with first.listening(), second.listening():
        serving = understudy_serve(config_text(first.port, first.port))
        supervisor = serving.server.process.pid
        rewrite(serving, f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}")
        reload(serving)
        before = workers_of(supervisor, serving.admin_port)
        assert serving.admin("/api/v1/restart", method="POST").status == 202
        asked_for(serving, 1)
        all_gone(before)
        assert ask(serving.proxy_port)[1] == b"second"
        end_by_force(control_of(supervisor, serving.admin_port))
        wait_until(serving.is_ready, "another control process")
        assert reload(serving)["changed"] == []
        wait_until(lambda: reloads(serving, "applied") >= 2, "the count of both")
        assert ask(serving.proxy_port)[1] == b"second"


def test_a_variable_still_overrides_after_a_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file says one thing, the environment another: it wins, as at the start."""
    monkeypatch.setenv("UNDERSTUDY_LIMITS__TARGET_BYTES", "256")
    with always().listening() as primary, always().listening() as shadow:
        serving = Serving.start(
            config_text(primary.port, shadow.port, limits={"target_bytes": 8000}), folder=tmp_path
        )
        try:
            rewrite(serving, "8000", "9000")
            assert reload(serving)["changed"] == []
            assert ask(serving.proxy_port, "/" + "x" * 300)[0] == 414
        finally:
            serving.stop()


def test_the_command_reloads(understudy_serve: UnderstudyServe) -> None:
    """`understudy reload` is the API in words."""
    with always().listening() as primary, always().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port))
        rewrite(serving, 'shadow: {"timeout": "60s"}', "shadow: {timeout: 2s}")
        admin = f"http://127.0.0.1:{serving.admin_port}"
        done = subprocess.run(
            [sys.executable, "-m", "understudy", "reload", "--admin", admin],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        told = r"reloaded: changed shadow \([01] of 1 workers follow it\)\n"  # a busy one is late
        assert re.fullmatch(told, done.stdout), done.stdout + done.stderr
