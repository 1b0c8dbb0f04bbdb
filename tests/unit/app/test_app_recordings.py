"""`understudy.app.recordings`: a HAR that ends by itself, within bounds, and tells what it lacks."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from understudy.admin.recordings import RecordingBusy, Wanted
from understudy.app import recordings as module
from understudy.app.recordings import Recordings
from understudy.link import Reel
from understudy.messages import Answer, Taken
from understudy.shadow import Redaction

ANSWER = Answer(status=200, headers=[], body=b"ok", length_bytes=2)


def taken(path: str = "/a", body: bytes = b"") -> Taken:
    return Taken("GET", "h", path, "", 0.0, 0.0, "", "", [], body, len(body), ANSWER)


def reel(*requests: Taken, number: int = 1, **more: Any) -> Reel:
    return Reel(number=number, taken=requests, **{"passed": len(requests), "missed": {}, **more})


class Stage:
    """Recordings, and what workers were told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.recordings = Recordings(lambda: Redaction(key=b"k" * 16))
        self.recordings.announce = self.told.append


async def rest(har: AsyncGenerator[bytes, None], *pieces: bytes) -> Any:
    """The HAR, whose first *pieces* were taken already, to its end."""
    return json.loads(b"".join([*pieces, *[piece async for piece in har]]))["log"]


async def test_a_recording_ends_when_it_has_enough() -> None:
    """Workers are told when it begins and ends; entries stand in the order in which they came."""
    stage = Stage()
    har = stage.recordings.record(Wanted(requests=2, path_prefix="/a"))
    begin = await anext(har)
    assert [told and told["path_prefix"] for told in stage.told] == ["/a"]
    stage.recordings.heard(reel(taken("/a/1"), taken("/a/2"), taken("/a/3"), missed={"budget": 1}, passed=4))
    log = await rest(har, begin)
    assert [entry["request"]["url"] for entry in log["entries"]] == ["http://h/a/1", "http://h/a/2"]
    summary = log["_understudy"]
    assert (summary["ended"], summary["requests"], summary["passed"]) == ("requests", 2, 4)
    assert summary["missed"] == {"budget": 1}
    assert stage.told[-1] is None


async def test_a_recording_ends_when_its_time_or_file_is_up() -> None:
    """With what there is; the file is never larger than asked."""
    stage = Stage()
    log = await rest(stage.recordings.record(Wanted(seconds=0.01)))
    assert (log["entries"], log["_understudy"]["ended"]) == ([], "seconds")
    har = stage.recordings.record(Wanted(max_bytes=1500))
    begin = await anext(har)
    stage.recordings.heard(reel(*[taken()] * 9, number=2))
    log = await rest(har, begin)
    assert log["_understudy"]["ended"] == "max_bytes"
    assert len(json.dumps(log["entries"], separators=(",", ":"))) < 1500


async def test_there_is_one_recording_at_a_time() -> None:
    """A second is refused; after the end of the first, or once its reader has left, there may be another."""
    stage = Stage()
    first = stage.recordings.record(Wanted())
    await anext(first)
    with pytest.raises(RecordingBusy):
        stage.recordings.record(Wanted())
    await first.aclose()
    assert stage.told[-1] is None
    second = stage.recordings.record(Wanted())
    begin = await anext(second)
    assert stage.recordings.end_recording()
    assert (await rest(second, begin))["_understudy"]["ended"] == "asked"
    assert not stage.recordings.end_recording()


async def test_what_belongs_to_another_recording_is_dropped() -> None:
    """A worker that tells late does not mix two."""
    stage = Stage()
    har = stage.recordings.record(Wanted(requests=1))
    begin = await anext(har)
    stage.recordings.heard(reel(taken("/late"), number=7))
    stage.recordings.heard(reel(taken("/mine")))
    log = await rest(har, begin)
    assert [entry["request"]["url"] for entry in log["entries"]] == ["http://h/mine"]


async def test_a_slow_reader_costs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is bounded; the rest is missed, and told."""
    monkeypatch.setattr(module, "MOST_QUEUED_BYTES", 3000)
    stage = Stage()
    har = stage.recordings.record(Wanted(requests=2))
    begin = await anext(har)
    stage.recordings.heard(reel(*[taken()] * 5))
    log = await rest(har, begin)
    assert (len(log["entries"]), log["_understudy"]["missed"]) == (2, {"reader_slow": 3})


async def test_fields_count_as_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that is slow bounds what waits for it, also where answers are all fields and no body."""
    monkeypatch.setattr(module, "MOST_QUEUED_BYTES", 5000)
    stage = Stage()
    har = stage.recordings.record(Wanted(requests=1))
    begin = await anext(har)
    wide = ANSWER._replace(headers=[(b"X", b"x" * 2000)])
    stage.recordings.heard(reel(*[taken()._replace(headers=[(b"X", b"x" * 1000)], answer=wide)] * 3))
    log = await rest(har, begin)
    assert log["_understudy"]["missed"] == {"reader_slow": 2}


async def test_a_recording_whose_reader_listens_late_leaves_the_next_one_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its place was given away: it says nothing to the workers, and ends nothing."""
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.0)
    stage = Stage()
    late = stage.recordings.record(Wanted())
    har = stage.recordings.record(Wanted(requests=1))
    begin = await anext(har)
    assert [piece async for piece in late] == []
    assert [told["number"] for told in stage.told] == [2]
    stage.recordings.heard(reel(taken(), number=2))
    assert (await rest(har, begin))["_understudy"]["requests"] == 1
