"""The client library before a running ``understudy serve``: right answers, whatever happens to that."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flagd_harness import DEFAULTS, Chance
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider import AbstractProvider
from servers import Serving, UnderstudyServe

from understudy.client import AsyncClient, Client, State
from understudy.client.openfeature import UnderstudyProvider
from understudy.config import parse_rules
from understudy.decide import Evaluator
from understudy.errors import ConfigError

SERVICES = 'services:\n  shop: {url: "http://127.0.0.1:9"}\n'
FLAGS = """
flags:
  ready: {variants: {"on": true, "off": false}, defaultVariant: "on"}
  base:
    variants: {"on": true, "off": false}
    defaultVariant: "off"
    targeting: {if: [{"==": [{var: plan}, pro]}, "on", "off"]}
  asks:
    variants: {"on": true, "off": false}
    defaultVariant: "off"
    targeting: {if: [{"===": [{flag: base}, "on"]}, "on", "off"]}
  split:
    variants: {a: A, b: B}
    defaultVariant: a
    targeting: {fractional: [[a, 50], [b, 50]]}
"""
UNITS = [f"user-{n}" for n in range(200)]
CASES = 120

PATIENCE_SECONDS = 60.0
TIMEOUT_SECONDS = 0.5
SELDOM_SECONDS = 600.0
"""When a client would ask by itself: what it hears in time, it was told."""


def wait_until(is_so: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Until *is_so*; fails after *seconds*."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.01)


def url(serving: Serving) -> str:
    """Its admin API."""
    return f"http://127.0.0.1:{serving.admin_port}"


@pytest.fixture(scope="module")
def serving(understudy_serve: UnderstudyServe, tmp_path_factory: pytest.TempPathFactory) -> Serving:
    """One that keeps its rules in a file, so that it has the same ones after a restart."""
    folder = tmp_path_factory.mktemp("kept")
    return understudy_serve(f"store: sqlite:///{folder}/rules.db\n{SERVICES}{FLAGS}", folder=folder)


def generated() -> tuple[dict[str, Any], list[tuple[str, str, dict[str, Any]]]]:
    """A rules document of flags made by chance, and questions to them."""
    chance = Chance(20261126, 2)
    cases = [chance.case() for _ in range(CASES)]
    document = next(found for case in cases if is_right(found := {**case.document, "flags": {}}))
    asked = []
    for number, case in enumerate(cases):
        flags = {f"flag-{number}": case.document["flags"]["f"]}
        if is_right({**document, "flags": flags}):
            document["flags"] |= flags
            asked += [(f"flag-{number}", case.kind, other.context) for other in cases[number : number + 3]]
    return document, asked


def is_right(document: dict[str, Any]) -> bool:
    """Whether a server takes it."""
    try:
        parse_rules(document, services=())
    except ConfigError:
        return False
    return True


def sdk_answers(provider: AbstractProvider, asked: list[tuple[str, str, dict[str, Any]]]) -> list[Any]:
    """What OpenFeature's SDK says with *provider*: value and its type, variant, reason and error code."""
    api.set_provider_and_wait(provider, domain="client")
    try:
        client, answers = api.get_client(domain="client"), []
        for flag, kind, context in asked:
            rest = {name: value for name, value in context.items() if name != "targetingKey"}
            read = getattr(client, f"get_{kind}_details")
            found = read(flag, DEFAULTS[kind], EvaluationContext(context.get("targetingKey"), rest))
            code = found.error_code.value if found.error_code is not None else None
            value = json.dumps(found.value)
            reason = str(getattr(found.reason, "value", found.reason))
            answers.append((flag, value, found.variant or None, reason, code))
        return answers
    finally:
        api.shutdown()


def decided(document: dict[str, Any], asked: list[tuple[str, str, dict[str, Any]]]) -> list[Any]:
    """What `decide` says, in the same form."""
    evaluator = Evaluator(
        flags=document["flags"],
        evaluators=document["$evaluators"],
        metadata=document["metadata"],
        clock=time.time,
    )
    answers = []
    for flag, kind, context in asked:
        found = evaluator.evaluate(flag, context).expecting(kind)
        value = json.dumps(found.value if found.variant else DEFAULTS[kind])
        answers.append((flag, value, found.variant or None, found.reason, found.error_code or None))
    return answers


def test_provider_ofrep_and_decide_agree(
    understudy_serve: UnderstudyServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flags and contexts made by chance: in process, remotely, by the OFREP provider, by the kernel."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    document, asked = generated()
    serving = understudy_serve(_config(document))
    expected = decided(document, asked)
    assert len(document["flags"]) > CASES // 2

    assert sdk_answers(UnderstudyProvider(Client(url(serving))), asked) == expected
    assert (
        sdk_answers(UnderstudyProvider(Client(url(serving), mode="remote", timeout=PATIENCE_SECONDS)), asked)
        == expected
    )
    assert sdk_answers(OFREPProvider(url(serving), timeout=PATIENCE_SECONDS), asked) == expected


def _config(document: dict[str, Any]) -> str:
    return "\n".join(
        ["store: memory://", SERVICES, *(f'"{key}": {json.dumps(value)}' for key, value in document.items())]
    )


def test_a_kill_switch_reaches_every_client(serving: Serving) -> None:
    """Local and remote, threads and loop, without asking; prerequisites follow."""
    with ExitStack() as open_clients:
        clients = [
            open_clients.enter_context(
                Client(url(serving), mode=mode, poll=SELDOM_SECONDS, timeout=PATIENCE_SECONDS)
            )
            for mode in ("local", "remote")
        ]
        for client in clients:
            assert client.wait_ready(PATIENCE_SECONDS)
            assert client.boolean("asks", "ann", False, plan="pro") is True
        wait_until(lambda: all(client.status().is_connected for client in clients))
        assert serving.admin("/api/v1/flags/base/kill", method="POST").status == 200
        wait_until(lambda: not any(client.boolean("asks", "ann", True, plan="pro") for client in clients))
        assert {client.details("base", "ann", False).reason for client in clients} == {"KILLED"}
        assert serving.admin("/api/v1/flags/base/revive", method="POST").status == 200
        wait_until(lambda: all(client.boolean("asks", "ann", False, plan="pro") for client in clients))


async def test_the_client_of_an_event_loop_answers_alike(serving: Serving) -> None:
    """In both modes, with every getter; a change reaches it on its own loop."""
    for mode in ("local", "remote"):
        async with AsyncClient(
            url(serving), mode=mode, poll=SELDOM_SECONDS, timeout=PATIENCE_SECONDS
        ) as client:
            assert await client.wait_ready(PATIENCE_SECONDS)
            assert await client.boolean("asks", "ann", False, plan="pro") is True
            assert await client.string("split", "ann", "") == "B"
            assert await client.variant("split", "dan", "") == "a"
            assert await client.integer("ready", "ann", 7) == 7
            assert await client.number("ready", "ann", 7.5) == 7.5
            assert await client.object("ready", "ann", {"own": 1}) == {"own": 1}
            assert (await client.details("nobody", "ann", None)).error_code == "FLAG_NOT_FOUND"
            everything = await client.evaluate_all("ann", {"plan": "pro"})
            assert {key: each.value for key, each in everything.items()} == {
                "ready": True,
                "base": True,
                "asks": True,
                "split": "B",
            }
            changed = asyncio.Event()
            client.on_change(lambda _, told=changed: told.set())  # type: ignore[misc]
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not client.status().is_connected:
                    await asyncio.sleep(0.01)
                serving.admin("/api/v1/flags/split/kill", method="POST")
                await changed.wait()
            assert await client.string("split", "ann", "") == "A"
            serving.admin("/api/v1/flags/split/revive", method="POST")
        assert client.status().state is State.CLOSED


@pytest.fixture
def watched(serving: Serving, tmp_path: Path) -> Iterator[tuple[Client, dict[str, str]]]:
    """A client with a file, and what it answered for all units while all was well."""
    with Client(url(serving), cache=tmp_path / "kept", timeout=TIMEOUT_SECONDS) as client:
        assert client.wait_ready(PATIENCE_SECONDS)
        wait_until(lambda: client.status().is_connected)
        yield client, {unit: client.string("split", unit, "wrong") for unit in UNITS}


def right(client: Client, expected: dict[str, str]) -> bool:
    """Whether all units still get what they got, and nobody waits for it."""
    begun = time.monotonic()
    found = {unit: client.string("split", unit, "wrong") for unit in UNITS}
    assert time.monotonic() - begun < len(UNITS) * TIMEOUT_SECONDS / 10
    return found == expected


def test_a_frozen_server_is_not_felt(
    serving: Serving, watched: tuple[Client, dict[str, str]], tmp_path: Path
) -> None:
    """SIGSTOP to all of its processes: answers go on; afterwards it is heard again."""
    client, expected = watched
    os.killpg(serving.server.process.pid, signal.SIGSTOP)
    try:
        assert right(client, expected)
        with Client(url(serving), cache=tmp_path / "kept", timeout=TIMEOUT_SECONDS) as another:
            assert another.ready()
            wait_until(lambda: another.status().troubles > 0)
            assert right(another, expected)
    finally:
        os.killpg(serving.server.process.pid, signal.SIGCONT)
    assert serving.admin("/api/v1/flags/ready/kill", method="POST").status == 200
    wait_until(lambda: client.details("ready", "ann", False).reason == "KILLED")
    serving.admin("/api/v1/flags/ready/revive", method="POST")


def test_a_killed_server_is_not_felt(serving: Serving, watched: tuple[Client, dict[str, str]]) -> None:
    """SIGKILL to all of its processes, then a new one at the same address: it is found by itself."""
    client, expected = watched
    process = serving.server.process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: client.status().state is State.STALE)
    assert right(client, expected)
    again = subprocess.Popen(process.args, cwd=serving.folder, start_new_session=True)
    serving.server.process = again
    serving.wait_until_ready()
    wait_until(lambda: client.status().state is State.READY)
    assert right(client, expected)


def command(serving: Serving, *arguments: str, token: str = "") -> str:
    """What an `understudy` command prints."""
    environ = {**os.environ, "UNDERSTUDY_TOKEN": token}
    whole = [sys.executable, "-m", "understudy", *arguments, "--admin", url(serving)]
    done = subprocess.run(whole, env=environ, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_revoked_token_leaves_the_rules_that_are_known(understudy_serve: UnderstudyServe) -> None:
    """The stream ends with the token, the server refuses, and answers go on; exposures had come through."""
    serving = understudy_serve(f"store: memory://\nexposures: {{sample: 1.0}}\n{SERVICES}{FLAGS}")
    admin = command(serving, "token", "create", "boss", "--role", "admin")
    token = command(serving, "token", "create", "shop", "--role", "viewer", token=admin)
    with Client(url(serving), token=token, timeout=2, poll=1.0) as client:
        with Client(url(serving), token=token, exposures=True, timeout=PATIENCE_SECONDS) as telling:
            assert telling.wait_ready(PATIENCE_SECONDS)
            assert [telling.string("split", unit, "") for unit in ("ann", "dan", "ann")] == ["B", "A", "B"]
        assert telling.status().exposures_sent == 2
        usage = serving.admin("/api/v1/usage?flag=split", headers={"Authorization": f"Bearer {token}"}).json()
        assert {row["variant"]: row["units"] for row in usage["flags"][0]["variants"]} == {"a": 1, "b": 1}

        assert client.wait_ready(PATIENCE_SECONDS)
        wait_until(lambda: client.status().is_connected)
        command(serving, "token", "revoke", token.split("_")[1], token=admin)
        wait_until(lambda: client.status().state is State.STALE)
        assert "401" in client.status().error
        assert client.string("split", "ann", "") == "B"


FORKING = """
import os, sys
from understudy import Client

with Client(sys.argv[1], mode=sys.argv[2], timeout=60.0) as client:
    assert client.boolean("ready", "ann", False) or client.wait_ready(60)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        import time
        before = client.boolean("ready", "ann", False)
        until = time.monotonic() + 60
        while not client.status().is_connected and time.monotonic() < until:
            time.sleep(0.01)
        told = f"{before} {client.status().state} {client.status().is_connected}"
        os.write(write, told.encode())
        client.close()
        os._exit(0)
    os.close(write)
    told = os.read(read, 100).decode()
    os.waitpid(child, 0)
    print(told, client.boolean("ready", "ann", False))
"""


@pytest.mark.parametrize("mode", ["local", "remote"])
def test_a_forked_process_stays_in_touch(serving: Serving, mode: str) -> None:
    """It answers at once and connects by itself, and the parent goes on."""
    whole = [sys.executable, "-c", FORKING, url(serving), mode]
    done = subprocess.run(whole, capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout.strip() == "True ready True True", done.stderr
