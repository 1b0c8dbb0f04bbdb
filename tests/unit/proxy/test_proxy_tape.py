"""`understudy.proxy.tape`: what passes is taken while a recording is on, within bounds, unfelt."""

from typing import Any

import pytest
from proxy_scene import Scene

from understudy.messages import Taken
from understudy.proxy import Tape, tape

GET = b"GET /a/b?x=1 HTTP/1.1\r\nHost: shop\r\nX-A: 1\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhello"


def wanted(**more: Any) -> dict[str, Any]:
    return {"number": 3, "seconds": 10.0, "share": 1.0, "path_prefix": "", "route": "", **more}


def taping(scene: Scene, *, at: float = 0.0, chance: float = 0.5, **more: Any) -> Tape:
    made = Tape(wanted(**more), now=lambda: at, wall=lambda: 77.0, chance=lambda: chance)
    scene.client.proxy.tape = made
    return made


def taken(made: Tape) -> list[Taken]:
    reel = made.reel()
    return [] if reel is None else list(reel.taken)


def test_a_request_and_its_answer_are_taken_whole() -> None:
    """Also where nothing is mirrored: as the client sent it, as the service answered."""
    scene = Scene()
    made = taping(scene)
    scene.feed(POST)
    reel = made.reel()
    assert reel is not None
    assert (reel.number, reel.passed, reel.missed) == (3, 1, {})
    (one,) = reel.taken
    assert (one.method, one.host, one.path, one.query, one.at) == ("POST", "shop", "/a", "", 77.0)
    assert (one.body, one.body_bytes, one.answer.status) == (b"hello", 5, 200)
    assert (b"Host", b"shop") in one.headers
    assert made.held == 0
    assert made.reel() is None


@pytest.mark.parametrize("data", [GET, POST])
def test_recording_changes_no_byte(data: bytes) -> None:
    """Client and service see the same with a recording and without."""
    plain, taped = Scene(), Scene()
    taping(taped)
    plain.feed(data)
    taped.feed(data)
    assert plain.outcome == taped.outcome


@pytest.mark.parametrize(
    ("more", "number"),
    [
        ({}, 1),
        ({"path_prefix": "/a/"}, 1),
        ({"path_prefix": "/b"}, 0),
        ({"route": "no such"}, 0),
        ({"share": 0.5}, 0),
        ({"share": 0.6}, 1),
        ({"at": 1.0}, 1),
    ],
)
def test_what_is_asked_for_is_taken(more: dict[str, Any], number: int) -> None:
    """By path, by route, by share."""
    scene = Scene()
    made = taping(scene, **more)
    scene.feed(GET)
    assert len(taken(made)) == number


def test_a_recording_that_nobody_ends_ends_itself() -> None:
    """After its seconds nothing is taken, though the control process never said so."""
    times = iter([0.0, 1.0, 11.0])
    scene = Scene()
    made = Tape(wanted(), now=lambda: next(times), wall=lambda: 0.0, chance=lambda: 0.0)
    scene.client.proxy.tape = made
    scene.feed(GET)
    scene.feed(GET)
    assert len(taken(made)) == 1


def test_nothing_is_taken_by_a_worker_that_is_short_of_memory() -> None:
    """It sheds copies, and recording with them; what it missed is counted."""
    scene = Scene()
    made = taping(scene)
    scene.client.proxy.mirror.barred = "memory"
    scene.feed(GET)
    reel = made.reel()
    assert reel is not None
    assert (reel.passed, list(reel.taken), reel.missed) == (1, [], {"memory": 1})


def test_a_full_tape_misses_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would not fit is told; what is held is given back, and there is room again."""
    monkeypatch.setattr(tape, "MOST_HELD_BYTES", 5000)
    scene = Scene()
    made = taping(scene)
    for _ in range(4):
        scene.feed(GET)
    reel = made.reel()
    assert reel is not None
    assert (reel.passed, len(reel.taken), reel.missed) == (4, 2, {"budget": 2})
    assert made.held == 0
    scene.feed(GET)
    assert len(taken(made)) == 1


def test_a_body_that_is_too_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its length stays, so that a replay knows what it lacks."""
    monkeypatch.setattr(tape, "MOST_BODY_BYTES", 4)
    scene = Scene()
    made = taping(scene)
    scene.feed(POST)
    (one,) = taken(made)
    assert (one.body, one.body_bytes) == (b"", 5)


def test_an_answer_is_kept_up_to_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The beginning, and how long it was."""
    monkeypatch.setattr(tape, "MOST_ANSWER_BYTES", 4)
    scene = Scene(answers=False)
    made = taping(scene)
    scene.feed(GET)
    scene.upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
    scene.upstream.data_received(b"56789")
    (one,) = taken(made)
    assert (one.answer.body, one.answer.length_bytes) == (b"0123", 10)


def test_a_request_without_a_whole_answer_is_missed() -> None:
    """The service hung up: there is nothing to record, and that is counted."""
    scene = Scene(answers=False)
    made = taping(scene)
    scene.feed(GET)
    scene.upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
    scene.upstream.connection_lost(None)
    reel = made.reel()
    assert reel is not None
    assert (list(reel.taken), reel.missed) == ([], {"primary_failed": 1})
    assert made.held == 0


def test_a_fault_in_recording_is_contained() -> None:
    """The client gets its answer; the fault is counted."""
    scene, plain = Scene(), Scene()

    def broken() -> float:
        raise RuntimeError("no clock")

    made = taping(scene)
    made._now = broken
    scene.feed(GET)
    plain.feed(GET)
    assert scene.outcome == plain.outcome
    assert scene.client.proxy.metrics.mirror_errors == 1


def test_fields_of_an_answer_count_as_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that are all fields fill a tape as bodies do."""
    monkeypatch.setattr(tape, "MOST_HELD_BYTES", 3000)
    scene = Scene(answers=False)
    made = taping(scene)
    scene.feed(GET)
    scene.upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: %b\r\n\r\n" % (b"x" * 1000))
    reel = made.reel()
    assert reel is not None
    assert (list(reel.taken), reel.missed) == ([], {"budget": 1})
    assert made.held == 0


def test_a_fault_in_the_middle_gives_back_what_is_held() -> None:
    """What was taken so far is missed, and counted; the tape has its room again."""
    scene = Scene(answers=False)
    made = taping(scene)
    scene.feed(GET)
    exchange = scene.client._current
    assert exchange is not None
    assert exchange.rehearsal is not None
    exchange.rehearsal._broke()
    reel = made.reel()
    assert reel is not None
    assert (list(reel.taken), reel.missed, made.held) == ([], {"error": 1}, 0)
