"""Remote mode: the server evaluates; its last answers are given while nothing changes, or it is away."""

import json
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from scripted_server import ScriptedServer, wait_until

from understudy.client import AsyncClient, Client, State
from understudy.client import remote as remote_module
from understudy.client.feed import Pace
from understudy.client.trouble import Trouble
from understudy.client.wire import Answer, Wire

ONE = "/ofrep/v1/evaluate/flags/plain"
ALL = "/ofrep/v1/evaluate/flags"
FAST = Pace(poll_seconds=30.0, silence_seconds=30.0, first_seconds=0.02, most_seconds=0.1)


def answer(value: object, **more: Any) -> bytes:
    """What OFREP says for a flag."""
    body = {"key": "plain", "reason": "STATIC", "variant": "on", "value": value, "metadata": {}, **more}
    return json.dumps(body).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """Answers for the flag `plain`; clients are in a hurry."""
    monkeypatch.setattr("understudy.client.options.Pace", lambda poll_seconds: FAST)
    monkeypatch.setattr(remote_module, "REST_SECONDS", 0.05)
    with ScriptedServer() as scripted:
        scripted.extra[ONE] = (200, answer(True))
        yield scripted


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Client]:
    """One that hears of changes."""
    with Client(server.url, mode="remote", timeout=60) as made:
        assert made.wait_ready(60)
        server.wait_for_listener()
        yield made


@pytest.fixture
def hasty(server: ScriptedServer) -> Iterator[Client]:
    """One that has little patience with its server, and has asked one question."""
    with Client(server.url, mode="remote", timeout=0.3) as made:
        server.wait_for_listener()
        wait_until(lambda: made.boolean("plain", "ann", False))
        yield made


def test_the_server_is_asked_once_until_something_changes(client: Client, server: ScriptedServer) -> None:
    """Then anew; another context is another question."""
    assert [client.boolean("plain", "ann", False, n=1) for _ in range(3)] == [True] * 3
    assert server.count(ONE) == 1
    assert json.loads(server.asked[-1].body) == {"context": {"n": 1, "targetingKey": "ann"}}
    client.boolean("plain", "ann", False, n=1.5)
    assert server.count(ONE) == 2
    server.extra[ONE] = (200, answer(False))
    server.tell()
    wait_until(lambda: client.boolean("plain", "ann", True, n=1) is False)


@pytest.mark.parametrize("fault", ["500", "401", "garbage", "half", "hang", "trickle", "reset"])
def test_the_last_answer_is_given_while_the_server_fails(
    hasty: Client, server: ScriptedServer, fault: str
) -> None:
    """Also when it is not fresh any more; what was never asked gets the default, within the time."""
    client = hasty
    server.fault = fault
    server.cut()
    wait_until(lambda: client.status().state is State.STALE)
    client._life.remote.turned()  # type: ignore[union-attr]  # as if a change had been missed
    begun = time.monotonic()
    assert client.boolean("plain", "ann", False) is True
    assert client.boolean("plain", "bob", False) is False
    assert client.details("plain", "bob", False).reason == "ERROR"
    assert time.monotonic() - begun < 30
    server.fault = ""
    wait_until(lambda: client.boolean("plain", "bob", False) is True)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (404, b'{"errorCode": "FLAG_NOT_FOUND", "errorDetails": "no"}', "FLAG_NOT_FOUND"),
        (400, b'{"errorCode": "PARSE_ERROR"}', "PARSE_ERROR"),
        (200, b"[]", "PROVIDER_NOT_READY"),
        (200, b"{", "GENERAL"),
    ],
)
def test_errors_are_told_in_details(
    client: Client, server: ScriptedServer, status: int, body: bytes, code: str
) -> None:
    """With OFREP's code where it gives one; the default stands."""
    server.extra[ONE] = (status, body)
    found = client.details("plain", "ann", True)
    assert (found.value, found.error_code) == (True, code)


def test_a_killed_flag_says_so(client: Client, server: ScriptedServer) -> None:
    """As in local mode."""
    server.extra[ONE] = (200, answer(True, metadata={"killed": True}))
    assert client.details("plain", "ann", False).reason == "KILLED"


def test_a_disabled_flag_leaves_the_default(client: Client, server: ScriptedServer) -> None:
    """OFREP leaves the value out then."""
    server.extra[ONE] = (200, b'{"key":"plain","reason":"DISABLED","variant":""}')
    assert client.details("plain", "ann", True).is_default


def test_all_flags_are_asked_at_once(client: Client, server: ScriptedServer) -> None:
    """And asked again with their entity tag."""
    body = json.dumps({"flags": [json.loads(answer(1)), {"key": "bad", "errorCode": "GENERAL"}, 7]}).encode()
    server.extra[ALL] = (200, body)
    found = client.evaluate_all("ann")
    assert {key: each.value for key, each in found.items()} == {"plain": 1, "bad": None}
    server.fault = "500"
    assert client.evaluate_all("ann").keys() == found.keys()
    assert client.evaluate_all("bob") == {}


def test_what_json_cannot_say_is_refused(client: Client) -> None:
    """At the call, as every wrong argument."""
    with pytest.raises(TypeError, match="JSON"):
        client.boolean("plain", "ann", False, n=float("nan"))


def test_answers_take_bounded_memory() -> None:
    """The one used longest ago goes first."""
    answers = remote_module._Answers[int](2)
    kept = [remote_module._Kept(answer=n, tag="", turn=0, at=0.0) for n in range(3)]
    answers.put(("0", b""), kept[0])
    answers.put(("1", b""), kept[1])
    assert answers.get(("0", b"")) is kept[0]
    answers.put(("2", b""), kept[2])
    assert [answers.get((str(n), b"")) for n in range(3)] == [kept[0], None, kept[2]]


def test_the_first_question_need_not_wait_to_be_asked(server: ScriptedServer) -> None:
    """It waits for the connection itself, within its time."""
    with Client(server.url, mode="remote", timeout=60) as client:
        assert client.boolean("plain", "ann", False) is True


async def test_a_client_that_never_began_gives_defaults_at_once() -> None:
    """There is nothing to wait for."""
    client = AsyncClient("http://127.0.0.1:9", mode="remote", timeout=100)
    begun = time.monotonic()
    assert await client.boolean("plain", "ann", True) is True
    assert await client.evaluate_all("ann") == {}
    assert time.monotonic() - begun < 30
    await client.close()


def test_a_closed_client_gives_the_last_answers(server: ScriptedServer) -> None:
    """Also those that are not fresh any more."""
    with Client(server.url, mode="remote", timeout=60) as client:
        assert client.boolean("plain", "ann", False) is True
        client._life.remote.turned()  # type: ignore[union-attr]  # as if a change had been missed
    assert client.boolean("plain", "ann", False) is True


def test_an_answer_that_trickles_ends_in_its_time(hasty: Client, server: ScriptedServer) -> None:
    """The first one too, with nothing known of the server's trouble: the last answer stands in for it."""
    client = hasty
    client._life.remote.turned()  # type: ignore[union-attr]  # as if a change had been missed
    server.fault = "trickle"
    begun = time.monotonic()
    assert client.boolean("plain", "ann", False) is True
    assert time.monotonic() - begun < 20, "it would trickle for half an hour"
    server.fault = ""


def test_one_failure_does_not_cost_the_answers_after_it(server: ScriptedServer) -> None:
    """However busy the application: those asked meanwhile do not put the server off any further."""
    server.extra[ONE] = (500, b"{}")
    with Client(server.url, mode="remote") as client:
        assert client.wait_ready(60)
        server.wait_for_listener()
        assert client.boolean("plain", "ann", False) is False
        server.extra[ONE] = (200, answer(True))
        wait_until(lambda: client.boolean("plain", "ann", False) is True)


def test_a_hung_server_is_waited_for_once(hasty: Client, server: ScriptedServer) -> None:
    """Not again each second: last answers and defaults are given at once until it is there."""
    client = hasty
    client._life.remote.turned()  # type: ignore[union-attr]  # as if a change had been missed
    server.fault = "hang"
    assert client.boolean("plain", "ann", False) is True
    wait_until(lambda: sum(asked.line.startswith("HEAD") for asked in list(server.asked)) > 3)
    asked, begun = server.count(ONE), time.monotonic()
    for _ in range(500):
        assert client.boolean("plain", "ann", False) is True
        assert client.boolean("plain", "bob", False) is False
    assert time.monotonic() - begun < 30, "a tenth of what it takes to wait each time"
    assert server.count(ONE) == asked
    server.fault = ""
    wait_until(lambda: client.boolean("plain", "bob", False) is True)


class Putting:
    """A wire to a server that answers, or asks for half a minute's rest."""

    is_busy = False
    asked = 0

    async def look(self) -> None:
        """It is there."""

    async def evaluate(self, _: str, __: bytes) -> Answer:
        """Answer, or refuse."""
        self.asked += 1
        if self.is_busy:
            raise Trouble("too many", status=429, retry_after_seconds=30.0)
        return Answer(status=200, headers={}, body=answer(True))


async def test_a_server_that_wants_to_be_left_alone_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """For as long as it says, though it is seen to be there; the last answers are given meanwhile."""
    remote = remote_module.Remote(fresh_seconds=0.0, answer_seconds=1.0, changed=lambda _: None)
    scripted, now = Putting(), 1000.0
    wire = cast(Wire, scripted)
    monkeypatch.setattr(remote_module, "time", SimpleNamespace(monotonic=lambda: now))
    for is_busy in (False, True, True):
        scripted.is_busy = is_busy
        assert (await remote.evaluate(wire, "plain", b"{}")).value is True
    now += 29.0
    await remote.refresh(wire)
    assert (await remote.evaluate(wire, "plain", b"{}")).value is True
    assert scripted.asked == 2
    now += 2.0
    await remote.refresh(wire)
    await remote.evaluate(wire, "plain", b"{}")
    assert scripted.asked == 3
