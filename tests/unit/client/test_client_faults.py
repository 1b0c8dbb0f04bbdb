"""What applications, disks, functions and servers do to a client that nobody would do on purpose."""

import asyncio
import gc
import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.provider import ProviderStatus
from scripted_server import ScriptedServer, flag, give_patience, wait_until

from understudy.client import AsyncClient, Client, State
from understudy.client import exposing as exposing_module
from understudy.client import remote as remote_module
from understudy.client.definition import Origin, read_definition
from understudy.client.exposing import Exposing
from understudy.client.feed import Pace
from understudy.client.hooks import Hooks
from understudy.client.kept import Kept
from understudy.client.openfeature import UnderstudyProvider
from understudy.client.trouble import Trouble
from understudy.client.wire import Wire

FAST = Pace(poll_seconds=0.1, silence_seconds=60.0, first_seconds=0.02, most_seconds=0.1)
SHARED = {"fractional": [["on", 100]]}
DUTCH = {"if": [{"in": [{"var": "country"}, ["NL"]]}, "on", "off"]}


class Marked(str):
    """Text as Django's and Jinja's marked texts are: its own ``__str__`` gives itself."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """A server whose clients are in a hurry until they end."""
    give_patience(monkeypatch)
    monkeypatch.setattr("understudy.client.options.Pace", lambda poll_seconds: FAST)
    flags = {"plain": flag(), "half": flag("off", SHARED), "dutch": flag("off", DUTCH)}
    with ScriptedServer(**flags) as scripted:
        yield scripted


def test_text_of_any_class_is_the_text_that_it_is(server: ScriptedServer) -> None:
    """A unit or an attribute out of a template gets the answer of the same plain text."""
    with Client(server.url) as client:
        assert client.wait_ready(60)
        assert client.boolean("half", Marked("ann"), False) is client.boolean("half", "ann", False) is True
        assert client.boolean("dutch", "ann", False, country=Marked("NL")) is True
        assert client.evaluate_all(Marked("ann"))["half"].value is True


def test_a_number_beyond_floats_is_none(server: ScriptedServer) -> None:
    """The default is given; a default or an attribute that is none itself is the caller's mistake."""
    server.put({"huge": flag("all", variants={"all": 10**400})})
    with Client(server.url) as client:
        assert client.wait_ready(60)
        assert client.number("huge", "ann", 0.5) == 0.5
        assert client.integer("huge", "ann", 1) == 10**400
        with pytest.raises(TypeError, match="larger than any float"):
            client.number("huge", "ann", 10**400)
        with pytest.raises(TypeError, match="attribute price"):
            client.boolean("plain", "ann", False, price=Decimal("sNaN"))


@pytest.mark.parametrize(
    "odd", [{"killed": [{}, "plain"]}, {"flags": {"plain": flag(), "odd": {"metadata": "shop"}}}]
)
def test_one_odd_definition_does_not_keep_the_next_one_out(odd: dict[str, Any]) -> None:
    """What is no name in ``killed`` is passed over; a flag without proper metadata is of the whole's set."""
    whole = {"flags": {"plain": flag()}, "metadata": {"flagSetId": "shop"}}
    for flag_set in ("", "shop"):
        before = read_definition(json.dumps({**whole, **odd}).encode(), origin=Origin(), flag_set=flag_set)
        after = read_definition(json.dumps(whole).encode(), origin=Origin(), flag_set=flag_set, before=before)
        assert after.changed_since(before) == (frozenset({"plain"}) if "killed" in odd else {"odd"})


@pytest.mark.parametrize("token", ["us_secret\n", "us_secr\u00e9t", b"us_secret"])
def test_a_wrong_token_is_told_without_its_text(server: ScriptedServer, token: Any) -> None:
    """Its function reads a file with a line's end, say: the mend is told, the token is not."""
    with Client(server.url, token=lambda: token) as client:
        wait_until(lambda: bool(client.status().error))
        assert "the function that gives the token gave what" in client.status().error
        assert "secr" not in client.status().error
    assert not server.asked


def test_a_function_that_is_removed_twice_was_added_once_more() -> None:
    """The other time stays."""
    hooks, told = Hooks(), list[Any]()
    remove = hooks.on_change(told.append)
    hooks.on_change(told.append)
    remove()
    remove()
    hooks.changed(frozenset())
    assert len(told) == 1


def test_functions_are_added_and_removed_in_many_threads() -> None:
    """None is lost, and none stays."""
    hooks, before = Hooks(), sys.getswitchinterval()
    hooks.on_status(print)

    def come_and_go() -> None:
        for _ in range(200):
            hooks.on_exposure(lambda _: None)()

    threads = [threading.Thread(target=come_and_go) for _ in range(8)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert hooks.exposures == ()


def test_closing_in_a_function_that_is_told_is_for_good(server: ScriptedServer) -> None:
    """The client is not ready again when that function returns."""
    client = Client(server.url)
    assert client.wait_ready(60)
    server.wait_for_listener()
    client.on_change(lambda _: client.close())
    states: list[State] = []
    client.on_status(states.append)
    server.put({"plain": flag("off")})
    client._background.join(60)
    assert client.status().state is State.CLOSED
    assert states == [State.CLOSED]
    assert client.boolean("plain", "ann", True) is False


def test_a_full_disk_is_only_full_for_a_while(server: ScriptedServer, tmp_path: Path) -> None:
    """What could not be kept is kept when there is room, without another change of the rules."""
    folder = tmp_path / "kept"
    folder.mkdir()
    path = folder / "flags"
    server.fault = "500"
    client = Client(server.url, cache=path)
    folder.rmdir()
    server.fault = ""
    try:
        wait_until(lambda: "cannot be kept" in client.status().error)
        folder.mkdir()
        server.streams = False
        server.cut()
        wait_until(path.exists)
        wait_until(lambda: not client.status().error or "cannot be kept" not in client.status().error)
    finally:
        client.close()
    server.fault = "500"
    with Client(server.url, cache=path) as later:
        assert later.boolean("plain", "ann", False) is True


def test_a_closed_client_gives_the_last_answer_for_all_flags(server: ScriptedServer) -> None:
    """As for one."""
    entry = {"key": "plain", "reason": "STATIC", "variant": "on", "value": True}
    server.extra["/ofrep/v1/evaluate/flags"] = (200, json.dumps({"flags": [entry]}).encode())
    with Client(server.url, mode="remote", timeout=60) as client:
        assert client.evaluate_all("ann")["plain"].value is True
    assert client.evaluate_all("ann")["plain"].value is True
    assert client.evaluate_all("bob") == {}


def test_large_answers_are_kept_in_bounded_memory() -> None:
    """However few; the newest always is."""
    answers = remote_module._Answers[int](100)
    large = remote_module.MOST_ANSWER_BYTES // 2 + 1
    for n, size in enumerate((large, large, 10 * large)):
        kept = remote_module._Kept(answer=n, tag="", turn=0, at=0.0, size=size)
        answers.put((str(n), b""), kept)
        answers.put((str(n), b""), kept)
        assert list(answers._kept) == [(str(n), b"")]


def test_another_event_loop_gets_defaults(server: ScriptedServer) -> None:
    """A remote question has no connection there: the last answer or the default, and nothing is raised."""
    entry = {"key": "plain", "reason": "STATIC", "variant": "on", "value": True}
    server.extra["/ofrep/v1/evaluate/flags/plain"] = (200, json.dumps(entry).encode())

    async def ask(client: AsyncClient) -> tuple[bool, bool]:
        known = await client.boolean("plain", "ann", False)
        return known, await client.boolean("plain", "bob", False)

    async def both() -> tuple[bool, bool]:
        async with AsyncClient(server.url, mode="remote", timeout=60) as client:
            assert await client.boolean("plain", "ann", False) is True
            return await asyncio.to_thread(asyncio.run, ask(client))

    assert asyncio.run(both()) == (True, False)


def test_an_odd_event_id_is_not_said_again(server: ScriptedServer) -> None:
    """It might be one that no field can hold, and then no stream would ever be there again."""
    with Client(server.url) as client:
        assert client.wait_ready(60)
        server.wait_for_listener()
        server.tell(b"id: \x01\x02\ndata: {}\n\n")
        wait_until(lambda: server.count("/api/v1/sync/flags.json") > 1)
        server.cut()
        wait_until(lambda: server.count("/ofrep/v1/sse") > 1)
        assert not any("last-event-id" in asked.headers for asked in server.asked)


def test_openfeature_hears_of_a_server_that_was_lost_before(server: ScriptedServer, tmp_path: Path) -> None:
    """The flags are those of the file: READY at first, as the SDK has it, then STALE."""
    with Client(server.url, cache=tmp_path / "flags") as first:
        wait_until((tmp_path / "flags").exists)
        assert first.wait_ready(60)
    server.fault = "500"
    client = Client(server.url, cache=tmp_path / "flags")
    wait_until(lambda: client.status().troubles > 0)
    try:
        api.set_provider_and_wait(UnderstudyProvider(client), domain="lost")
        asking = api.get_client(domain="lost")
        wait_until(lambda: asking.get_provider_status() is ProviderStatus.STALE)
        server.fault = ""
        wait_until(lambda: asking.get_provider_status() is ProviderStatus.READY)
    finally:
        api.shutdown()
        api.clear_providers()


class Taking:
    """A wire that counts what it takes, or takes nothing."""

    def __init__(self) -> None:
        self.taken = 0

    async def expose(self, batch: dict[str, Any]) -> None:
        """Take *batch*."""
        self.taken += len(batch["exposures"])


def _met(exposing: Exposing, count: int) -> Callable[[], None]:
    for n in range(count):
        exposing.offer("plain", "on", f"unit-{n}", 0.0)
    return exposing.end


async def test_a_whole_batch_does_not_wait_for_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a busy application loses none of them."""
    monkeypatch.setattr(exposing_module, "_LOOK_SECONDS", 0.01)
    exposing, wire = Exposing(every_seconds=1000.0), Taking()
    _met(exposing, exposing_module.BATCH)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(exposing.run(wire))  # type: ignore[arg-type]
        while wire.taken < exposing_module.BATCH:
            await asyncio.sleep(0.01)
        running.cancel()


def test_what_still_waits_at_the_end_is_counted() -> None:
    """As dropped."""
    exposing = Exposing()
    _met(exposing, 2500)()
    assert (exposing.sent, exposing.dropped) == (0, 2500)


@pytest.mark.parametrize("raised", [SystemExit(3), asyncio.CancelledError(), ValueError("no")])
def test_whatever_a_listener_raises_the_client_stays_in_touch(
    server: ScriptedServer, raised: BaseException
) -> None:
    """Also what would end a program or a task."""

    def fail(_: object) -> None:
        raise raised

    with Client(server.url) as client:
        assert client.wait_ready(60)
        server.wait_for_listener()
        client.on_change(fail)
        for default in ("off", "on"):
            server.put({"plain": flag(default)})
            wait_until(lambda: client.status().version == server.version)
        wait_until(lambda: client.status().hook_errors == 2)
        assert client.status().state is State.READY


def test_a_listener_that_would_be_awaited_is_refused(server: ScriptedServer) -> None:
    """It would never begin."""

    async def listen(_: object) -> None:
        """Never called."""

    with Client(server.url) as client:
        for register in (client.on_change, client.on_status, client.on_exposure):
            with pytest.raises(TypeError, match="not awaited"):
                register(listen)


def test_nothing_has_changed_is_no_answer_at_first(server: ScriptedServer) -> None:
    """A cache in between says 304 to who has nothing: there are no flags, so it is not ready."""
    server.extra["/api/v1/sync/flags.json"] = (304, b"")
    with Client(server.url) as client:
        wait_until(lambda: "knows nothing yet" in client.status().error)
        assert not client.ready()
        del server.extra["/api/v1/sync/flags.json"]
        assert client.wait_ready(60)


def test_one_odd_unit_does_not_cost_the_others(server: ScriptedServer) -> None:
    """What no server can read, and what it would refuse, is left out of the batch and counted."""
    server.extra["/api/v1/exposures"] = (202, b"{}")
    with Client(server.url, exposures=True, timeout=60) as client:
        assert client.wait_ready(60)
        for unit in ("ann", "b\ud800b", "c" * 513):
            assert client.boolean("plain", unit, False) is True
    units = [each["unit"] for each in json.loads(server.asked[-1].body)["exposures"]]
    assert units == ["ann"]
    assert (client.status().exposures_sent, client.status().exposures_dropped) == (1, 2)


def test_a_flood_of_changes_is_not_answered_by_a_flood_of_questions(server: ScriptedServer) -> None:
    """However often the server tells of the same change, or of none."""
    with Client(server.url) as client:
        assert client.wait_ready(60)
        server.wait_for_listener()
        before, begun = server.count("/api/v1/sync/flags.json"), time.monotonic()
        while time.monotonic() < begun + 0.5 or server.count("/api/v1/sync/flags.json") < before + 2:
            assert time.monotonic() < begun + 60
            server.tell()
            time.sleep(0.001)
        asked, seconds = server.count("/api/v1/sync/flags.json") - before, time.monotonic() - begun
        # Ten a second by the stream; ten more by this client's poll, which is in a hurry.
        assert 1 < asked < 4 + 20 * seconds
        server.put({"plain": flag("off")})
        wait_until(lambda: client.boolean("plain", "ann", True) is False)


def test_a_lost_server_is_told_in_the_log_once(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """And so is one that never let us in."""
    server.fault = "401"
    with caplog.at_level("INFO", "understudy.client"), Client(server.url) as client:
        wait_until(lambda: client.status().troubles > 2)
        server.fault = ""
        assert client.wait_ready(60)
        server.fault = "500"
        server.cut()
        wait_until(lambda: client.status().state is State.STALE)
        before = client.status().troubles
        wait_until(lambda: client.status().troubles > before + 2)
        assert client.status().state is State.STALE
    told = [record.getMessage() for record in caplog.records if record.name == "understudy.client"]
    assert len(told) == 3
    assert "defaults answer: http" in told[0]
    assert "the token is missing, revoked or has expired" in told[0]
    assert told[1] == "in touch with the server again"
    assert "the last flags known answer" in told[2]
    assert "status 500" in told[2]


@pytest.mark.parametrize("tag", ['"caf\u00e9"', '"' + 10_000 * "x" + '"'])
def test_an_odd_entity_tag_is_not_said_again(server: ScriptedServer, tag: str) -> None:
    """It might be one that no field can hold, and then nothing could ever be asked again."""
    server.tag = tag
    with Client(server.url) as client:
        assert client.wait_ready(60)
        server.wait_for_listener()
        server.put({"plain": flag("off")})
        wait_until(lambda: client.boolean("plain", "ann", True) is False)
        assert "if-none-match" not in server.asked[-1].headers


def test_older_rules_are_not_kept_over_newer_ones(server: ScriptedServer, tmp_path: Path) -> None:
    """Of several processes with one file, one may have asked a host that lags."""
    path = tmp_path / "flags"
    server.version = 7
    with Client(server.url, cache=path) as client:
        assert client.wait_ready(60)
        wait_until(path.exists)
    newest = path.read_bytes()
    lagging = Kept(path, source=f"{server.url} flag set ''")
    lagging.write(Origin(version=6, stored_at=server.stored_at - 60), b'{"flags": {}}')
    assert path.read_bytes() == newest
    path.write_bytes(b"damaged")
    lagging.write(Origin(version=6, stored_at=server.stored_at - 60), b'{"flags": {}}')
    assert lagging.read() is not None


@pytest.mark.parametrize(
    "about",
    [
        {"tag": 5},
        {"version": "7"},
        {"version": 10**30},
        {"stored_at": float("inf")},
        {"stored_at": "now"},
        {"source": None},
    ],
)
def test_a_file_that_says_odd_things_is_left_aside(
    server: ScriptedServer, tmp_path: Path, about: dict[str, Any]
) -> None:
    """Whole though it is: else no answer of the server might ever be newer."""
    path = tmp_path / "flags"
    said = {"source": f"{server.url} flag set ''", "tag": "", "version": 1, "stored_at": 1.0, **about}
    rest = json.dumps(said).encode() + b"\n" + json.dumps({"flags": {"plain": flag("off")}}).encode()
    path.write_bytes(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
    server.fault = "500"
    with Client(server.url, cache=path) as client:
        assert not client.ready()
        server.fault = ""
        assert client.wait_ready(60)
        assert client.boolean("plain", "ann", False) is True


class Names(StrEnum):
    """Flags and defaults of an application, by name."""

    PLAIN = "plain"
    NOBODY = "nobody"


def test_names_and_defaults_may_be_of_an_enumeration(server: ScriptedServer) -> None:
    """As applications keep them, so that none is misspelt."""
    with Client(server.url) as client:
        assert client.wait_ready(60)
        assert client.boolean(Names.PLAIN, "ann", False) is True
        assert client.details(Names.PLAIN, "ann", False).value is True
        assert client.string(Names.NOBODY, "ann", Names.NOBODY) is Names.NOBODY
        assert client.details(Names.NOBODY, "ann", Names.NOBODY).error_code == "FLAG_NOT_FOUND"
        with pytest.raises(TypeError):
            client.number("plain", "ann", True)


@pytest.mark.parametrize("attributes", ["pro", [("plan", "pro")], {1: "pro"}])
def test_attributes_of_all_flags_are_a_mapping(server: ScriptedServer, attributes: Any) -> None:
    """By name, as those of one flag."""
    with Client(server.url) as client, pytest.raises(TypeError, match="attribute"):
        client.evaluate_all("ann", attributes)


def test_a_token_stands_in_no_report_of_an_error(server: ScriptedServer) -> None:
    """Tools that report errors tell what each frame holds."""
    with Client(server.url, token="us_secret") as client:
        assert "us_secret" not in repr(client._life.options)


def test_a_client_that_is_dropped_ends(server: ScriptedServer) -> None:
    """Its thread, and its connection: an application that makes one for each request does not run full."""
    before = set(threading.enumerate())
    for _ in range(5):
        client = Client(server.url)
        assert client.wait_ready(60)
        server.wait_for_listener()
        del client
    gc.collect()
    wait_until(lambda: set(threading.enumerate()) <= before)
    wait_until(lambda: not server._listeners)


async def test_many_at_once_to_a_hung_server_do_not_use_up_the_connections(server: ScriptedServer) -> None:
    """However many gave up, also while they waited for their turn: all are answered when it is well again."""

    async def is_answered(wire: Wire) -> bool:
        try:
            return (await wire.definition("")).status == 200
        except Trouble:
            return False

    server.fault = "hang"
    async with Wire(server.url, token=None, flag_set="", timeout_seconds=0.2) as wire:
        assert not any(await asyncio.gather(*[is_answered(wire) for _ in range(60)]))
        server.fault = ""
        async with asyncio.timeout(60):
            while not all(await asyncio.gather(*[is_answered(wire) for _ in range(20)])):
                pass  # a slow machine takes another try; a place that was lost is lost for every one
