"""The parts of the client that need no server."""

import asyncio
import json
import os
import subprocess
import sys
from collections import deque
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.client import exposing as exposing_module
from understudy.client.attributes import context_of
from understudy.client.definition import Origin, read_definition
from understudy.client.event_stream import EventStream, StreamEvent
from understudy.client.exposing import Exposing
from understudy.client.feed import Pace
from understudy.client.kept import Kept
from understudy.client.trouble import StreamTrouble, Trouble
from understudy.client.wire import Wire, _retry_seconds

STREAM = (
    b"\xef\xbb\xbfretry: 2000\n\nid: 7\nevent: message\ndata: one\n\n: still here\n\n"
    b"data: two\r\ndata: more\r\n\r\nid: 9\rdata: \xc3\xbc\r\r"
)
EVENTS = [
    StreamEvent(id="7", data="one"),
    StreamEvent(id="7", data="two\nmore"),
    StreamEvent(id="9", data="ü"),
]


@settings(max_examples=50)
@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_events_are_the_same_however_they_are_cut(places: list[int]) -> None:
    """Also within a line end, a character or the byte order mark."""
    stream, found, begun = EventStream(), [], 0
    for place in [*sorted(places), len(STREAM)]:
        found += stream.feed(STREAM[begun:place])
        begun = place
    assert found == EVENTS


@pytest.mark.parametrize("piece", [b"x" * 1000, b"data: x\n" * 100])
def test_an_endless_event_is_refused(piece: bytes) -> None:
    """Long before it takes memory worth speaking of."""
    stream = EventStream()
    with pytest.raises(StreamTrouble):
        deque(map(stream.feed, [piece] * 1000))


@settings(max_examples=50)
@given(st.integers(1, 10_000), st.floats(0, 1))
def test_waits_grow_and_stay_bounded(troubles: int, chance: float) -> None:
    """From half of the first to all of the longest."""
    pace = Pace()
    assert pace.first_seconds / 2 <= pace.wait_seconds(troubles, chance) <= pace.most_seconds


@pytest.mark.parametrize(
    ("one", "other", "is_older"),
    [
        ((1, 10.0), (2, 20.0), True),
        ((2, 20.0), (1, 10.0), False),
        ((1, 30.0), (7, 20.0), False),
        ((2, 10.0), (2, 20.0), True),
        ((2, 20.0), (2, 20.0), False),
        ((1, None), (2, 20.0), True),
        ((None, None), (2, 20.0), False),
    ],
)
def test_what_is_older(one: tuple[Any, Any], other: tuple[Any, Any], is_older: bool) -> None:
    """A lower version that was stored before; a store set up anew counts from 1 again, but later."""
    mine, theirs = (Origin(version=version, stored_at=at) for version, at in (one, other))
    assert mine.is_older(theirs) is is_older


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"flags": []}',
        b'{"flags": {}, "killed": {}}',
        b'{"flag": {}}',
        b'{"flags": {"a": NaN}}',
        b"\xff",
        b"[" * 100_000,
        b'{"flags": {}, "metadata": 7}',
    ],
)
def test_what_is_no_definition_is_refused(body: bytes) -> None:
    """Whole, whatever it is."""
    with pytest.raises(Trouble):
        read_definition(body, origin=Origin())


def test_integers_of_any_size_and_floats_stay_what_they_are() -> None:
    """2⁷⁰ is not rounded, and 1.0 is a float."""
    body = b'{"flags": {"f": {"variants": {"a": 1180591620717411303424, "b": 1.0}, "defaultVariant": "a"}}}'
    found = read_definition(body, origin=Origin()).evaluate("f", {})
    assert found.value == 2**70


def test_a_change_names_what_asks_what_changed() -> None:
    """A prerequisite's change is one of the flags that ask it."""
    rule = {"if": [{"===": [{"flag": "base"}, "on"]}, "on", "off"]}
    plain = {"variants": {"on": 1, "off": 2}, "defaultVariant": "on"}
    flags = {"base": plain, "asks": {**plain, "targeting": rule}, "else": plain}
    one = read_definition(json.dumps({"flags": flags}).encode(), origin=Origin())
    text = json.dumps({"flags": flags, "killed": ["base"]})
    killed = read_definition(text.encode(), origin=Origin())
    assert killed.changed_since(one) == {"base", "asks"}
    assert one.changed_since(one) == frozenset()


class Colour(Enum):
    """Something an application may have."""

    RED = "red"


def test_attributes_are_said_as_json_says_them() -> None:
    """Enums, identifiers, sets and what derives from text and numbers."""

    class Text(str):
        __slots__ = ()

    given = {
        "colour": Colour.RED,
        "id": UUID(int=7),
        "set": {1},
        "text": Text("a"),
        "in": {"deep": (1.5, None)},
    }
    assert context_of("ann", cast(dict[str, Any], given)) == {
        "colour": "red",
        "id": "00000000-0000-0000-0000-000000000007",
        "set": [1],
        "text": "a",
        "in": {"deep": [1.5, None]},
        "targetingKey": "ann",
    }


def test_attributes_in_a_circle_are_refused() -> None:
    """With the attribute's name."""
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(TypeError, match="attribute loop: more than 32 levels"):
        context_of("ann", {"loop": circle})


def test_what_cannot_be_kept_is_told(tmp_path: Path) -> None:
    """And leaves nothing behind."""
    kept = Kept(tmp_path / "gone" / "kept", source="a")
    with pytest.raises(Trouble, match="cannot be kept"):
        kept.write(Origin(), b"{}")
    assert list(tmp_path.iterdir()) == []


def test_what_was_kept_comes_back(tmp_path: Path) -> None:
    """With where it is from."""
    origin = Origin(tag='"a"', version=3, stored_at=1.5)
    Kept(tmp_path / "kept", source="a").write(origin, b"{\n}\n")
    assert Kept(tmp_path / "kept", source="a").read() == (origin, b"{\n}\n")


class Refusing:
    """A wire whose server answers exposures as scripted."""

    def __init__(self, *troubles: Trouble | None) -> None:
        self.troubles = list(troubles)
        self.batches: list[dict[str, Any]] = []

    async def expose(self, batch: dict[str, Any]) -> None:
        """See Wire.expose."""
        self.batches.append(batch)
        if self.troubles and (trouble := self.troubles.pop(0)) is not None:
            raise trouble


def sent(exposing: Exposing, wire: Refusing) -> None:
    """Send what there is."""
    asyncio.run(exposing.send(cast(Wire, wire)))


def test_a_batch_is_sent_again_under_the_same_id() -> None:
    """It may have arrived: so it counts once."""
    exposing, wire = Exposing(), Refusing(Trouble("away"))
    exposing.offer("plain", "on", "ann", 1.5)
    sent(exposing, wire)
    assert exposing.sent == 0
    sent(exposing, wire)
    assert exposing.sent == 1
    assert wire.batches[0] == wire.batches[1]


def test_what_is_refused_for_good_is_dropped() -> None:
    """And counted; the next batch is tried all the same."""
    exposing, wire = Exposing(), Refusing(Trouble("no", status=422))
    exposing.offer("plain", "on", "ann", 1.5)
    sent(exposing, wire)
    assert (exposing.sent, exposing.dropped, exposing.error) == (0, 1, "no")


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_what_is_refused_for_now_is_kept(status: int) -> None:
    """A token is renewed, a busy server has time again: the same batch is sent then."""
    exposing, wire = Exposing(), Refusing(Trouble("no", status=status))
    exposing.offer("plain", "on", "ann", 1.5)
    sent(exposing, wire)
    sent(exposing, wire)
    assert (exposing.sent, exposing.dropped) == (1, 0)
    assert wire.batches[0] == wire.batches[1]


async def test_exposures_wait_as_long_as_the_server_wants() -> None:
    """Not only for their own time."""
    exposing = Exposing(every_seconds=0.0)
    exposing.offer("plain", "on", "ann", 1.5)
    await exposing.send(cast(Wire, Refusing(Trouble("no", status=429, retry_after_seconds=300.0))))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(exposing._due(), 0.05)


def test_no_batch_is_larger_than_the_server_takes() -> None:
    """A unit that is too long would have a whole batch refused, and is dropped alone."""
    exposing, wire = Exposing(), Refusing()
    for number in range(2500):
        exposing.offer("plain", "on", f"{number}" + "\U0001f600" * 500, 1.5)
    exposing.offer("plain", "on", "x" * 513, 1.5)
    sent(exposing, wire)
    assert (exposing.sent, exposing.dropped) == (2500, 1)
    assert max(len(json.dumps(batch)) for batch in wire.batches) < 1 << 20
    assert max(len(batch["exposures"]) for batch in wire.batches) <= 1000


def test_exposures_wait_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the server is away, the oldest go, and all are counted."""
    monkeypatch.setattr(exposing_module, "MOST_WAITING", 10)
    monkeypatch.setattr(exposing_module, "BATCH", 4)
    exposing, wire = Exposing(), Refusing(*[Trouble("away")] * 5)
    for turn in range(5):
        for unit in range(12):
            exposing.offer("plain", "on", f"{turn}-{unit}", 1.5)
        sent(exposing, wire)
    sent(exposing, wire)
    assert exposing.sent + exposing.dropped == 60
    assert exposing.sent <= 10


@pytest.mark.parametrize(
    ("after", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Thu, 26 Nov 2026 12:00:30 GMT", 30.0),
        ("Thu, 26 Nov 2026 11:00:00 GMT", 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("\u0665", 0.0),
        ("9" * 30, 999_999_999.0),
        ("Thu, 99 Nov 9999999 12:00:30 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(after: str, seconds: float) -> None:
    """A server gives seconds, a gateway in front of it perhaps a date."""
    assert _retry_seconds(after, datetime(2026, 11, 26, 12, 0, tzinfo=UTC).timestamp()) == seconds


SETS = """
from understudy.client.attributes import context_of
print(context_of(None, {'tags': set('abcdefgh')}))
"""


@pytest.mark.parametrize("seed", ["1", "2"])
def test_a_set_has_one_order(seed: str) -> None:
    """The same in every process: they shall hash the same."""
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", SETS], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "{'tags': ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']}\n"
