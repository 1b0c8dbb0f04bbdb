"""`understudy.replay.playback`: a replay against real services gives the report of live traffic."""

import asyncio
import json
import ssl
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trustme
from replay_stage import (
    Stage,
    assert_balanced,
    json_answer,
    played,
    recorded,
    recording,
    replay,
)
from store_servers import free_port

from understudy.comparators import CompareRule
from understudy.config import OriginTls, Service
from understudy.replay import Playback, Wording, at_rate
from understudy.testing import answer, chunked

ENOUGH = 450
"""Equal exchanges after which a run is clean (409 at 1 %)."""


def steady(_target: str, _before: int) -> bytes:
    return json_answer({"id": 7, "price": 9.5})


def of(report: dict[str, Any], endpoint: str) -> dict[str, Any]:
    found = [item for item in report["endpoints"] if item["endpoint"] == endpoint]
    assert len(found) == 1
    return dict(found[0])


async def test_equal_services_are_clean() -> None:
    """Every exchange matches, the books balance, and the verdict is clean."""
    async with Stage(steady) as primary, Stage(steady) as candidate:
        report = await played(replay(primary, candidate, [recorded()] * ENOUGH))
    assert (report["verdict"], report["exchanges"], report["matched"]) == ("clean", ENOUGH, ENOUGH)
    assert report["with_control"] == ENOUGH
    assert (len(primary.asked), len(candidate.asked)) == (2 * ENOUGH, ENOUGH)
    assert_balanced(report)
    assert report["mirror"]["answered"] == ENOUGH
    assert report["replay"]["played"] == ENOUGH


async def test_a_fault_is_a_regression_and_noise_is_not() -> None:
    """A price that is wrong is found with samples of both sides; a counter that always differs is noise."""
    ticks = count()

    def right(_target: str, _before: int) -> bytes:
        return json_answer({"price": 9.5, "served": next(ticks)})

    def wrong(_target: str, _before: int) -> bytes:
        return json_answer({"price": 8.5, "served": next(ticks)})

    async with Stage(right) as primary, Stage(wrong) as candidate:
        report = await played(replay(primary, candidate, [recorded("/orders/17")] * 120))
    verdicts = {(f["path"], f["kind"]): f["verdict"] for f in of(report, "GET /orders/{id}")["findings"]}
    assert verdicts == {("/body/price", "value"): "regression", ("/body/served", "value"): "noise"}
    assert report["verdict"] == "regression"
    sample = report["endpoints"][0]["findings"][0]["samples"][0]
    assert (sample["primary"], sample["shadow"], sample["request"]) == (9.5, 8.5, "GET /orders/17")
    assert primary.url in sample["curl"]
    assert candidate.url in sample["curl"]


async def test_too_few_requests_are_undecided_and_say_how_to_get_more() -> None:
    """The note names the number of rounds that brings enough; with it, the run is clean."""
    async with Stage(steady) as primary, Stage(steady) as candidate:
        few = await played(replay(primary, candidate, [recorded()] * 50))
        assert few["verdict"] == "undecided"
        note = next(note for note in few["notes"] if "--repeat" in note)
        rounds = int(note.partition("--repeat ")[2].split()[0])
        many = await played(replay(primary, candidate, [recorded()] * 50, repeat=rounds))
    assert (rounds, many["verdict"]) == (9, "clean")


async def test_a_candidate_that_dies_is_counted_and_the_replay_goes_on() -> None:
    """What it leaves unanswered has a reason, the run ends, and is not clean."""

    def mortal(_target: str, before: int) -> bytes:
        if before == ENOUGH:
            candidate.leave()
        return json_answer({"id": 7, "price": 9.5})

    candidate = Stage(mortal)
    async with Stage(steady) as primary, candidate:
        report = await played(replay(primary, candidate, [recorded()] * (2 * ENOUGH)))
    assert_balanced(report)
    books = report["mirror"]
    assert books["sent"] == 2 * ENOUGH
    assert books["answered"] >= ENOUGH - 8
    assert books["failed"]["connect_refused"] > ENOUGH / 2
    assert report["verdict"] == "undecided"
    assert any("candidate gave no answer to" in note for note in report["notes"])


async def test_a_primary_that_dies_is_told_and_never_clean() -> None:
    """Its candidate is not asked what there is nothing to compare with."""

    def mortal(_target: str, before: int) -> bytes:
        if before == 2 * ENOUGH:
            primary.leave()
        return json_answer({"id": 7, "price": 9.5})

    primary = Stage(mortal)
    async with primary, Stage(steady) as candidate:
        report = await played(replay(primary, candidate, [recorded()] * (2 * ENOUGH)))
    assert_balanced(report)
    failed = report["mirror"]["skipped"]["primary_failed"]
    assert failed > ENOUGH / 2
    assert sum(report["replay"]["primary_failed"].values()) == failed
    assert len(candidate.asked) == 2 * ENOUGH - failed
    assert report["exchanges"] >= ENOUGH - 8
    assert report["verdict"] == "undecided"
    assert report["summary"].startswith("undecided: the primary gave no answer to")
    assert any("the candidate was not asked these" in note for note in report["notes"])


async def test_nobody_at_home_ends_at_once() -> None:
    """Without a single answer there is a report, with the reason."""
    url = f"http://127.0.0.1:{free_port()}"
    report = await played(replay(url, url, [recorded()] * 20))
    assert report["verdict"] == "undecided"
    assert report["replay"]["primary_failed"] == {"connect_refused": 20}
    assert [note for note in report["notes"] if "--repeat" in note] == []
    assert_balanced(report)


async def test_a_candidate_that_is_not_there_needs_no_repetition() -> None:
    """More requests would not be answered either."""
    url = f"http://127.0.0.1:{free_port()}"
    async with Stage(steady) as primary:
        report = await played(replay(primary, url, [recorded()] * 20))
    assert (report["verdict"], report["mirror"]["failed"]) == ("undecided", {"connect_refused": 20})
    assert [note for note in report["notes"] if "--repeat" in note] == []


async def test_a_silent_side_is_given_up() -> None:
    """A candidate that hangs costs its time-out for a while, not for every request of a long file."""
    async with Stage(steady) as primary, Stage(steady) as candidate:
        candidate.shut = True
        asked = replay(primary, candidate, [recorded()] * 10_000, timeout_seconds=0.3, give_up_seconds=1.0)
        report = await played(asked)
    assert_balanced(report)
    assert report["replay"]["ended"] == "gave_up"
    assert report["mirror"]["failed"]["timeout"] >= 8
    assert report["mirror"]["skipped"]["gave_up"] > 9000
    assert any(note.startswith("Given up after") and "candidate" in note for note in report["notes"])


async def test_an_interrupted_replay_tells_what_it_saw() -> None:
    """Nothing more is asked, what is under way is waited for, the rest is booked."""
    async with Stage(steady) as primary, Stage(steady) as candidate:
        playback = Playback(
            replay(primary, candidate, [recorded()] * 5000),
            tell=lambda progress: playback.interrupt() if progress.played > 50 else None,
        )
        report = await playback.run()
    assert_balanced(report)
    assert playback.is_interrupted
    played_number = report["replay"]["played"]
    assert 50 < played_number < 5000
    assert report["mirror"]["skipped"] == {"interrupted": 5000 - played_number}
    assert report["mirror"]["failed"] == {}
    assert f"Interrupted after {played_number:,} of 5,000 requests." in report["notes"]


async def test_a_second_interruption_waits_for_nobody() -> None:
    """Calls under way are ended, and booked as interrupted."""
    async with Stage(steady) as primary, Stage(steady) as candidate:
        candidate.shut = True

        def impatient(_progress: object) -> None:
            if len(candidate.asked) == 8:
                playback.interrupt()
                playback.interrupt()

        asked = replay(primary, candidate, [recorded()] * 100, timeout_seconds=100.0)
        playback = Playback(asked, tell=impatient)
        async with asyncio.timeout(60):
            report = await playback.run()
    assert_balanced(report)
    assert report["mirror"]["failed"] == {"interrupted": 8}


async def test_requests_arrive_as_recorded_and_alike() -> None:
    """The bytes are the same for all but Host: fields in order, the body with its length, no mark of ours."""
    request = recorded(
        "/a%20b",
        "POST",
        query="x=1",
        headers=((b"X-A", b"1"), (b"x-a", b"2")),
        credentials=((b"Cookie", b"sid=1"),),
        body=b"hello",
    )
    async with Stage(steady) as primary, Stage(steady) as candidate:
        report = await played(replay(primary, candidate, [request]))
    host = primary.url.removeprefix("http://").encode()
    assert primary.asked == [
        b"POST /a%20b?x=1 HTTP/1.1\r\nHost: "
        + host
        + b"\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 5\r\n\r\nhello"
    ]
    assert candidate.asked[0].split(b"\r\n")[2:] == primary.asked[0].split(b"\r\n")[2:]
    assert any("1 request came with credentials" in note for note in report["notes"])
    assert report["with_control"] == 0, "what may change something is not asked of the primary twice"


async def test_own_fields_replace_recorded_ones() -> None:
    """Host too, so that both sides may be asked by one name; credentials go where they are asked for."""
    own = ((b"Host", b"shop.example"), (b"x-a", b"9"), (b"Authorization", b"Bearer test"))
    request = recorded(headers=((b"X-A", b"1"), (b"Accept", b"*/*")), credentials=((b"Cookie", b"sid=1"),))
    wording = Wording(own=own, sends_credentials=True)
    async with Stage(steady) as primary, Stage(steady) as candidate:
        await played(replay(primary, candidate, [request], wording=wording))
    assert b"".join(candidate.asked) == (
        b"GET /items HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\nCookie: sid=1\r\n"
        b"x-a: 9\r\nAuthorization: Bearer test\r\n\r\n"
    )
    assert set(primary.asked) == set(candidate.asked)


async def test_a_control_of_its_own_is_asked_all_that_changes_something() -> None:
    """Whatever its share, so that its state follows that of the others."""
    requests = [recorded(), recorded("/orders", "POST", body=b"{}")] * 20
    async with Stage(steady) as primary, Stage(steady) as candidate, Stage(steady) as control:
        asked = replay(primary, candidate, requests, control=control, control_share=0.0)
        report = await played(asked)
    assert control.targets == ["/orders"] * 20
    assert len(primary.asked) == 40
    assert report["services"]["control"]["control"]["answered"] == 20


async def test_the_order_is_that_of_the_recording() -> None:
    """One at a time, each service sees the requests in their order, round after round."""
    requests = [recorded(f"/p{number}") for number in range(5)]
    async with Stage(steady) as primary, Stage(steady) as candidate:
        await played(replay(primary, candidate, requests, concurrency=1, repeat=2, control_share=0.0))
    assert candidate.targets == [request.path for request in requests] * 2
    assert primary.targets == candidate.targets
    assert (len(primary.connections), len(candidate.connections)) == (1, 1)


async def test_no_more_are_under_way_than_allowed() -> None:
    """A service that answers nobody is asked by as many as the concurrency."""
    seen: list[int] = []

    def look(_progress: object) -> None:
        seen.append(len(primary.asked))
        primary.open()

    async with Stage(steady) as primary, Stage(steady) as candidate:
        primary.shut = True
        await Playback(replay(primary, candidate, [recorded()] * 50, concurrency=3), tell=look).run()
    assert seen[0] == 3


async def test_the_same_seed_gives_the_same_report() -> None:
    """Whatever the order in which answers came: counts, control calls and samples; not times."""

    def reply(target: str, _before: int) -> bytes:
        return json_answer({"id": target, "odd": hash(target) % 2 == 0})

    def wrong(target: str, _before: int) -> bytes:
        return json_answer({"id": target, "odd": target})

    def plain(report: dict[str, Any]) -> str:
        for item in report["endpoints"]:
            del item["latency"]
            for finding in item["findings"]:
                for sample in finding["samples"]:
                    assert sample.pop("id") == ""  # nothing is kept that it could find
                    del sample["seen"]
        del report["replay"]["seconds"]
        return json.dumps(report, sort_keys=True)

    requests = [recorded(f"/orders/{number}") for number in range(60)]
    async with Stage(reply) as primary, Stage(wrong) as candidate:
        asked = replay(primary, candidate, requests, control_share=0.5, seed=3)
        one = plain(await played(asked))
        other = plain(await played(replace(asked, concurrency=1)))
        another = plain(await played(replace(asked, seed=4)))
    assert one == other
    assert one != another


@pytest.mark.parametrize(
    ("mine", "theirs", "path"),
    [
        (answer(302, b"", [("Location", "/a")]), answer(302, b"", [("Location", "/b")]), "/headers/location"),
        (chunked([b"x" * 900, b"y" * 900]), chunked([b"x" * 900, b"y" * 900]), None),
        (answer(200, b"x" * 1800), answer(200, b"x" * 1801), "/body"),
        (answer(200, b"x" * 1800), chunked([b"x" * 5000]), None),
        (answer(204), answer(204), None),
    ],
)
async def test_answers_are_compared_as_they_came(mine: bytes, theirs: bytes, path: str | None) -> None:
    """A redirect is not followed; over the cap prefixes and declared lengths count, others do not."""
    async with Stage(lambda *_: mine) as primary, Stage(lambda *_: theirs) as candidate:
        report = await played(replay(primary, candidate, [recorded()] * 3, cap_bytes=1024))
    paths = {finding["path"] for item in report["endpoints"] for finding in item["findings"]}
    assert {p for p in paths if not p.startswith("/headers/content-length")} == ({path} if path else set())
    assert report["exchanges"] == 3


async def test_a_kept_connection_that_was_closed_is_no_failure() -> None:
    """A service that closes after each answer is asked again on a new connection."""

    def closing(_target: str, _before: int) -> bytes:
        return answer(200, b"ok", [("Connection", "close")])

    async with Stage(closing) as primary, Stage(closing) as candidate:
        report = await played(replay(primary, candidate, [recorded()] * 30))
    assert report["mirror"]["failed"] == {}
    assert report["matched"] == 30


async def test_an_answer_that_is_cut_off_is_a_failure() -> None:
    """Half an answer is compared with nothing."""
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"

    async with Stage(steady) as primary, Stage(lambda *_: half) as candidate:
        candidate_side = replay(primary, candidate, [recorded()] * 2, timeout_seconds=0.5)
        report = await played(candidate_side)
    assert report["mirror"]["failed"] == {"timeout": 2}
    assert report["exchanges"] == 0


async def test_certificates_are_checked(tmp_path: Path) -> None:
    """By the authority that is named; one that nobody vouches for is no answer, unless it is not checked."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    trusting = OriginTls(ca=str(tmp_path / "ca.pem"))
    async with Stage(steady) as primary, Stage(steady, tls) as candidate:
        asked = replay(primary, candidate, [recorded()] * 3)
        for trust, outcome in (
            (trusting, {}),
            (OriginTls(), {"tls_failed": 3}),
            (OriginTls(verify=False), {}),
        ):
            report = await played(
                replace(asked, candidate=Service(url=candidate.url, tls=trust, connect_timeout=60.0))
            )
            assert report["mirror"]["failed"] == outcome


async def test_rules_and_redaction_hold_as_for_live_traffic() -> None:
    """What a rule ignores is counted as ignored; a token in a sample is hidden."""

    def secret(_target: str, number: int) -> bytes:
        return json_answer(
            {"token": f"eyJhbGciOi.{number}", "at": number, "mail": f"ada{number}@example.com"}
        )

    rule = CompareRule(endpoint="GET /items", ignore=("/body/at",))
    async with Stage(secret) as primary, Stage(lambda _target, before: secret(_target, -before)) as candidate:
        requests = [recorded(query="api_key=abcdef0123456789")] * 20
        report = await played(replay(primary, candidate, requests, compare=(rule,), control_share=0.0))
    found = {finding["path"]: finding["verdict"] for finding in report["endpoints"][0]["findings"]}
    assert found["/body/at"] == "ignored"
    assert found["/body/mail"] == found["/body/token"] == "regression"
    text = json.dumps(report)
    assert "eyJhbGciOi" not in text
    assert "@example.com" not in text
    assert "abcdef0123456789" not in text


async def test_skipped_entries_stand_in_the_books() -> None:
    """Eligible are all entries of the file; the note says in words why some were not asked."""
    base = recording(
        [recorded()] * 5, entries=9, skipped={"websocket": 1, "method": 3}, broken="it ends at x"
    )
    async with Stage(steady) as primary, Stage(steady) as candidate:
        report = await played(replay(primary, candidate, [], recording=base))
    assert_balanced(report)
    assert report["mirror"]["eligible"] == 9
    assert report["mirror"]["skipped"] == {"websocket": 1, "method": 3}
    assert any(
        note.startswith("4 of 9 entries are not replayed: 3 with a method that was not asked for")
        for note in report["notes"]
    )
    assert any(
        "some.har breaks off: it ends at x. The entries before that, 9, were used." in n
        for n in report["notes"]
    )


class Jumps:
    """A clock that stands still but for its pauses, which it keeps."""

    def __init__(self) -> None:
        self.at = 100.0
        self.pauses: list[float] = []

    def now(self) -> float:
        return self.at

    async def pause(self, seconds: float) -> None:
        self.pauses.append(round(seconds, 6))
        self.at += seconds


async def test_a_pace_is_kept_by_waiting_for_each_turn() -> None:
    """Four a second are a quarter of a second apart."""
    clock = Jumps()
    async with Stage(steady) as primary, Stage(steady) as candidate:
        await played(replay(primary, candidate, [recorded()] * 4, due=at_rate(4.0)), clock=clock)
    assert clock.pauses == [0.25, 0.25, 0.25]
