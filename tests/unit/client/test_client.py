"""The client of threads before a scripted server: what it answers, whatever the server does."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from scripted_server import ScriptedServer, flag, give_patience, wait_until

import understudy
from understudy.client import Client, Exposure, State
from understudy.client.feed import Pace
from understudy.errors import ConfigError

DUTCH = {"if": [{"==": [{"var": "country"}, "NL"]}, "on", None]}
FAULTS = ["500", "401", "garbage", "html", "half", "loris", "trickle", "bomb", "redirect", "hang", "reset"]
FAST = Pace(poll_seconds=0.3, silence_seconds=60.0, first_seconds=0.02, most_seconds=0.1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """Flags of every type."""
    give_patience(monkeypatch)
    flags = {
        "plain": flag(),
        "dutch": flag("off", DUTCH),
        "text": flag("a", variants={"a": "A"}),
        "count": flag("one", variants={"one": 1}),
        "ratio": flag("half", variants={"half": 0.5}),
        "look": flag("dark", variants={"dark": {"ink": ["white"]}}),
        "gone": {**flag(), "state": "DISABLED"},
    }
    with ScriptedServer(**flags) as scripted:
        yield scripted


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that wait a tenth of a second where others wait half a minute."""
    monkeypatch.setattr("understudy.client.options.Pace", lambda poll_seconds: FAST)


def made(server: ScriptedServer, **options: Any) -> Client:
    """A client that has flags."""
    client = Client(server.url, **{"timeout": 30.0, **options})
    assert client.wait_ready(60)
    return client


def test_every_type_has_its_getter(server: ScriptedServer) -> None:
    """And the caller's default stands for an unknown or disabled flag, and for another type."""
    with made(server) as client:
        assert client.boolean("plain", "ann", False) is True
        assert client.boolean("dutch", "ann", False, country="NL") is True
        assert client.boolean("dutch", "ann", True, country="BE") is False
        assert client.string("text", "ann", "own") == "A"
        assert client.integer("count", "ann", 9) == 1
        assert client.number("ratio", "ann", 9.0) == 0.5
        assert type(client.number("count", None, 9.0)) is float
        assert client.object("look", "ann", {}) == {"ink": ["white"]}
        assert client.variant("dutch", "ann", "none", country="NL") == "on"
        assert client.boolean("gone", "ann", True) is True
        assert client.string("nobody", "ann", "own") == "own"
        assert client.integer("plain", "ann", 9) == 9
        assert client.variant("gone", "ann", "none") == "none"


def test_an_object_is_the_callers_own(server: ScriptedServer) -> None:
    """What he changes in it, nobody else sees."""
    with made(server) as client:
        client.object("look", "ann", {})["ink"].append("gone")
        client.details("look", "ann", {}).value["ink"].append("gone")
        assert client.object("look", "ann", {}) == {"ink": ["white"]}


def test_details_say_why(server: ScriptedServer) -> None:
    """Variant, reason, error code and version; the type of the default says what is expected."""
    with made(server) as client:
        found = client.details("dutch", "ann", False, country="NL")
        assert (found.value, found.variant, found.reason, found.version) == (True, "on", "TARGETING_MATCH", 1)
        assert client.details("plain", "ann", 1).error_code == "TYPE_MISMATCH"
        assert client.details("nobody", "ann", None).error_code == "FLAG_NOT_FOUND"
        assert client.details("gone", "ann", True).is_default
        everything = client.evaluate_all("ann", {"country": "NL"})
        assert everything["dutch"].value is True
        assert everything["gone"].value is None


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.boolean("plain", "ann", 1),
        lambda client: client.integer("count", "ann", True),
        lambda client: client.string("text", 7, "own"),
        lambda client: client.boolean(7, "ann", True),
        lambda client: client.object("look", "ann", None),
        lambda client: client.boolean("plain", "ann", True, who=object()),
        lambda client: client.details("plain", "ann", object()),
    ],
)
def test_wrong_types_at_the_call_are_refused(server: ScriptedServer, ask: Callable[[Any], object]) -> None:
    """A mistake in the program is told at once, not hidden by a default."""
    with made(server) as client, pytest.raises(TypeError):
        ask(client)


def test_attributes_become_what_rules_can_look_at(server: ScriptedServer) -> None:
    """Times, tuples and mappings are said as JSON says them."""
    since = datetime(2026, 11, 26, tzinfo=UTC)
    rule = {
        "if": [
            {"and": [{"in": ["pro", {"var": "plans"}]}, {"==": [{"var": "since"}, since.isoformat()]}]},
            "on",
        ]
    }
    server.put({"asks": flag("off", rule)})
    with made(server) as client:
        assert client.boolean("asks", "ann", False, plans=("pro", "max"), since=since) is True


def test_a_change_is_told_and_in_force(server: ScriptedServer) -> None:
    """By the stream, at once; only the flags that changed are named."""
    told: list[frozenset[str]] = []
    with made(server) as client:
        client.on_change(told.append)
        server.wait_for_listener()
        flags = server.document["flags"]
        begun = time.monotonic()
        server.put({**flags, "plain": flag("off")})
        wait_until(lambda: client.boolean("plain", "ann", True) is False)
        assert time.monotonic() - begun < 20, "before it would have asked"
        wait_until(lambda: bool(told))
    assert told == [frozenset({"plain"})]


def test_what_a_listener_raises_is_counted(server: ScriptedServer) -> None:
    """And reaches neither the other listeners nor whoever asks."""
    told: list[Exposure] = []

    def fail(_: object) -> None:
        raise ValueError("no")

    with made(server) as client:
        client.on_exposure(fail)
        remove = client.on_exposure(told.append)
        assert client.boolean("plain", "ann", False) is True
        remove()
        assert client.boolean("plain", "bob", False) is True
        assert client.status().hook_errors == 2
    assert [(each.flag, each.variant, each.unit) for each in told] == [("plain", "on", "ann")]


def test_defaults_are_no_exposures(server: ScriptedServer) -> None:
    """Nor are answers for all flags: nobody has met those yet."""
    told: list[Exposure] = []
    with made(server) as client:
        client.on_exposure(told.append)
        client.boolean("gone", "ann", True)
        client.integer("plain", "ann", 7)
        client.details("plain", "ann", 7)
        client.evaluate_all("ann")
    assert told == []


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_of_the_server_changes_an_answer(server: ScriptedServer, fault: str) -> None:
    """Whatever it does, the last good flags answer, at once; then it is heard again."""
    with made(server, timeout=0.3) as client:
        server.wait_for_listener()
        server.fail(fault, {"flags": {"plain": flag("off")}})
        server.cut()
        wait_until(lambda: client.status().state is State.STALE)
        begun = time.monotonic()
        answers = {client.boolean("plain", "ann", False) for _ in range(1000)}
        assert time.monotonic() - begun < 30, "a tenth of what it takes to ask each time"
        assert answers == {True}
        wait_until(lambda: bool(client.status().error))
        server.fault = ""
        server.version += 1
        wait_until(lambda: client.boolean("plain", "ann", True) is False)
        wait_until(lambda: client.status().state is State.READY)


@pytest.mark.usefixtures("hurried")
def test_without_a_stream_it_asks_now_and_then(server: ScriptedServer) -> None:
    """With its entity tag: what is known is not sent again."""
    server.streams = False
    with made(server) as client:
        server.put({"plain": flag("off")})
        wait_until(lambda: client.boolean("plain", "ann", True) is False)
        asked = server.count("/api/v1/sync/flags.json")
        wait_until(lambda: server.count("/api/v1/sync/flags.json") > asked + 1)
        wait_until(lambda: client.status().state is State.READY)
        assert not client.status().is_connected
    *_, last = (asked for asked in server.asked if asked.path == "/api/v1/sync/flags.json")
    assert "if-none-match" in last.headers


def test_a_silent_stream_is_left(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is frozen sends no heartbeat either."""
    pace = replace(FAST, silence_seconds=0.05)
    monkeypatch.setattr("understudy.client.options.Pace", lambda poll_seconds: pace)
    with made(server):
        wait_until(lambda: server.count("/ofrep/v1/sse") >= 2)


@pytest.mark.usefixtures("hurried")
def test_a_stream_that_floods_is_left(server: ScriptedServer) -> None:
    """A line without an end does not fill the memory."""
    with made(server) as client:
        server.wait_for_listener()
        server.tell(b"x" * 200_000)
        wait_until(lambda: server.count("/ofrep/v1/sse") >= 2)
        assert client.boolean("plain", "ann", False) is True


@pytest.mark.usefixtures("hurried")
def test_it_comes_back_where_it_left(server: ScriptedServer) -> None:
    """With the id of the last event it heard."""
    with made(server):
        server.wait_for_listener()
        server.put({"plain": flag("off")})
        wait_until(lambda: server.count("/api/v1/sync/flags.json") >= 2)
        server.cut()
        wait_until(lambda: any(asked.headers.get("last-event-id") == "2" for asked in list(server.asked)))


@pytest.mark.usefixtures("hurried")
def test_older_rules_are_refused(server: ScriptedServer) -> None:
    """A host that lags, or was put back from a copy; rules that are stored later count again."""
    server.version = 7
    with made(server) as client:
        server.wait_for_listener()
        server.put({"plain": flag("off")}, version=6, later=-60.0)
        wait_until(lambda: "older than version 7" in client.status().error)
        assert client.boolean("plain", "ann", False) is True
        server.put({"plain": flag("off")}, version=6, later=120.0)
        wait_until(lambda: client.boolean("plain", "ann", True) is False)


@pytest.mark.usefixtures("hurried")
def test_an_empty_definition_is_refused_unless_it_is_newer(server: ScriptedServer) -> None:
    """Nobody deletes all flags without a version of the rules that says so."""
    with made(server) as client:
        server.wait_for_listener()
        server.put({}, version=1, later=5.0)
        wait_until(lambda: "without any flag" in client.status().error)
        assert client.boolean("plain", "ann", False) is True
        server.put({})
        wait_until(lambda: client.flags() == ())


def test_it_starts_from_the_file_when_the_server_is_away(server: ScriptedServer, tmp_path: Path) -> None:
    """At once, with the flags that were in force last; the file is for its owner alone."""
    kept = tmp_path / "flags.kept"
    with made(server, cache=kept):
        wait_until(kept.exists)
    server.fault = "hang"
    with Client(server.url, cache=kept, timeout=0.3) as client:
        assert client.ready()
        assert client.boolean("plain", "ann", False) is True
        assert client.status().state is State.STALE
        assert client.status().age_seconds is None
    assert kept.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["flags.kept"]


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("place", [0, 70, -2])
def test_a_damaged_file_is_told_and_left_aside(server: ScriptedServer, tmp_path: Path, place: int) -> None:
    """Wherever the damage is; the server's answer takes its place."""
    kept = tmp_path / "flags.kept"
    with made(server, cache=kept):
        wait_until(kept.exists)
    content = bytearray(kept.read_bytes())
    content[place] ^= 1
    kept.write_bytes(content)
    server.fault = "500"
    with Client(server.url, cache=kept) as client:
        assert not client.ready()
        assert client.boolean("plain", "ann", False) is False
        assert client.details("plain", "ann", False).error_code == "PROVIDER_NOT_READY"
        server.fault = ""
        assert client.wait_ready(60)
        assert client.boolean("plain", "ann", False) is True


def test_the_file_of_another_server_is_left_aside(server: ScriptedServer, tmp_path: Path) -> None:
    """Production's flags do not start a client of staging."""
    kept = tmp_path / "flags.kept"
    with made(server, cache=kept):
        wait_until(kept.exists)
    with Client("http://127.0.0.1:9", cache=kept) as client:
        assert not client.ready()
        wait_until(lambda: bool(client.status().error))


def test_only_the_flag_set_asked_for_answers(server: ScriptedServer) -> None:
    """Flags of others are there because these ask them, and are not found."""
    asks = flag("off", {"if": [{"===": [{"flag": "base"}, "on"]}, "on", "off"]})
    server.document["metadata"] = {"flagSetId": "web"}
    server.put({"asks": asks, "base": {**flag(), "metadata": {"flagSetId": "app"}}})
    with made(server, flag_set="web") as client:
        assert client.boolean("asks", "ann", False) is True
        assert client.details("base", "ann", None).error_code == "FLAG_NOT_FOUND"
        assert client.flags() == ("asks",)
    assert server.asked[0].headers["flagd-selector"] == "flagSetId=web"


def test_the_token_is_shown_and_may_change(server: ScriptedServer) -> None:
    """A function gives the one to show now."""
    tokens = iter(["first", *["second"] * 100])
    with made(server, token=lambda: next(tokens)):
        server.wait_for_listener()
    shown = [asked.headers["authorization"] for asked in server.asked]
    assert shown[:2] == ["Bearer first", "Bearer second"]


def test_exposures_are_sent_in_a_batch_on_closing(server: ScriptedServer) -> None:
    """Each unit once, however often it asked; never one without unit."""
    server.extra["/api/v1/exposures"] = (202, b"{}")
    with made(server, exposures=True) as client:
        for unit in ["ann", "bob", "ann", None]:
            client.boolean("plain", unit, False)
    sent = json.loads(server.asked[-1].body)
    assert [(each["flag"], each["variant"], each["unit"]) for each in sent["exposures"]] == [
        ("plain", "on", "ann"),
        ("plain", "on", "bob"),
    ]
    assert sent["batch"]
    assert client.status().exposures_sent == 2


LEFT_OPEN = """
import sys, understudy, understudy.client.client, understudy.client.life
understudy.client.client._CLOSE_SECONDS = understudy.client.life.LAST_SECONDS = 50.0
client = understudy.Client(sys.argv[1], exposures=True, timeout=50.0)
client.wait_ready(50.0)
client.boolean("plain", "ann", False)
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_program_that_never_closes_ends_all_the_same(server: ScriptedServer, host: str) -> None:
    """At once, and its exposures are sent, also when the server's name has to be looked up for that."""
    server.extra["/api/v1/exposures"] = (200, b"{}")
    url = server.url.replace("127.0.0.1", host)
    command = [sys.executable, "-W", "error", "-c", LEFT_OPEN, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert server.count("/api/v1/exposures") == 1


def test_a_server_that_takes_no_exposures_costs_nothing_but_them(server: ScriptedServer) -> None:
    """They are counted as dropped."""
    with made(server, exposures=True) as client:
        client.boolean("plain", "ann", False)
    assert client.status().exposures_dropped == 1


def test_many_threads_ask_while_rules_change(server: ScriptedServer) -> None:
    """Each answer is of one version, whole."""
    pair = {"a": flag("on"), "b": flag("on")}
    server.put(pair)
    wrong: list[object] = []
    stop = threading.Event()
    with made(server) as client:

        def ask() -> None:
            while not stop.is_set():
                found = client.evaluate_all("ann")
                if len({found[key].value for key in found}) != 1:
                    wrong.append(found)
                one = client.details("a", "ann", None)
                if one.value is not (one.version in (2, 3, 5, 7, 9, 11)):
                    wrong.append(one)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        server.wait_for_listener()
        for turn in range(10):
            server.put({key: flag("off" if turn % 2 else "on") for key in pair})
        wait_until(lambda: client.status().version == server.version)
        stop.set()
        for thread in threads:
            thread.join(60)
    assert wrong == []


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"url": "127.0.0.1:9090"}, "url"),
        ({"url": "http://ann:secret@127.0.0.1"}, "url"),
        ({"mode": "magic"}, "mode"),
        ({"mode": "remote", "cache": "kept"}, "cache"),
        ({"cache": "/nowhere/at/all"}, "cache"),
        ({"timeout": 0}, "timeout"),
        ({"poll": float("nan")}, "poll"),
        ({"token": "two words\n"}, "token"),
        ({"flag_set": "a=b"}, "flag_set"),
        ({"url": "http://192.0.2.1", "exposures": True}, "exposures"),
        ({"url": b"http://127.0.0.1"}, "url"),
        ({"url": "http://two words"}, "url"),
        ({"url": "http://127.0.0.1\n"}, "url"),
        ({"timeout": "5"}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"poll": None}, "poll"),
        ({"flag_set": None}, "flag_set"),
        ({"verify": "authority.pem"}, "verify"),
        ({"cache": 5}, "cache"),
        ({"cache": "a\0b"}, "cache"),
        ({"cache": "a" * 300}, "cache"),
    ],
)
def test_what_could_never_work_is_refused_at_once(options: dict[str, Any], where: str) -> None:
    """With the argument's name."""
    with pytest.raises(ConfigError, match=f"^{where}: "):
        Client(**{"url": "http://127.0.0.1:9", **options})


def test_what_is_no_plain_file_keeps_nothing(tmp_path: Path) -> None:
    """A pipe never ends, and a device would be replaced by a file, for the whole machine."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as odd:
        odd.bind(str(path))
        with pytest.raises(ConfigError, match=r"^cache: .*is not a file"):
            Client("http://127.0.0.1:9", cache=path)


def test_importing_the_package_costs_nothing() -> None:
    """No HTTP library is loaded before somebody asks for a client."""
    asked = "'httpx' in sys.modules"
    code = f"import sys, understudy; print({asked}, understudy.Client.__name__, {asked})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["False", "Client", "True"]


def test_the_package_gives_the_clients_when_they_are_asked_for() -> None:
    """By name, and nothing else by that way."""
    assert understudy.Client is Client
    with pytest.raises(AttributeError):
        _ = getattr(understudy, "Nobody")  # noqa: B009
