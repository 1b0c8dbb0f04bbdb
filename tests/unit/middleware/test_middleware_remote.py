"""What is sent to a control process of who met which variant, all of it; and which rules of its are taken."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from middleware_world import served
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from understudy.middleware import remote
from understudy.middleware.remote import ROWS, ROWS_BYTES, ControlStore, exposure_rows, pieces
from understudy.store import Exposure, Exposures

HOUR = 490_000
NOW = HOUR * 3600.0 + 60.0


@given(
    counts=st.dictionaries(
        st.tuples(st.text(max_size=9), st.text(max_size=9), st.just(HOUR)), st.integers(1, 10**9)
    ),
    units=st.lists(st.text(max_size=9)),
    times=st.integers(1, 300),
)
@settings(max_examples=50)
def test_all_is_said_in_pieces_of_their_size(
    counts: dict[tuple[str, str, int], int], units: list[str], times: int
) -> None:
    """Evaluations once, units without any; every piece can be sent, and none is empty."""
    met = [Exposure(flag="shop", variant="on", unit=unit, at=NOW) for unit in units]
    rows = exposure_rows(Exposures(counts=counts, units=met, at=NOW))
    told = pieces(rows * times)

    assert sum(row["evaluations"] for row in rows) == sum(counts.values())
    assert [row["unit"] for row in rows if "unit" in row] == units
    assert [row for piece in told for row in piece] == rows * times
    assert all(0 < len(piece) <= ROWS for piece in told)


def test_a_piece_has_no_more_bytes_than_it_takes() -> None:
    """Units of the greatest length, in characters of the greatest length."""
    met = [Exposure(flag="f" * 256, variant="v" * 256, unit="\U0001f600" * 512, at=NOW)] * 2000
    told = pieces(exposure_rows(Exposures(counts={}, units=met, at=NOW)))
    assert sum(map(len, told)) == 2000
    assert all(len(orjson.dumps(piece)) <= ROWS_BYTES + 2 for piece in told)


def test_an_hour_that_is_over_is_told_as_that_hour() -> None:
    """What waited for an hour is not counted in the one in which it is sent."""
    counts = {("shop", "on", HOUR - 1): 5, ("shop", "on", HOUR): 7}
    rows = exposure_rows(Exposures(counts=counts, at=NOW))
    assert [(int(row["at"]) // 3600, row["evaluations"]) for row in rows] == [(HOUR - 1, 5), (HOUR, 7)]


def test_half_a_character_is_no_unit_that_can_be_told() -> None:
    """JSON has no word for it; the others are told, and the count was."""
    met = [Exposure(flag="shop", variant="on", unit=unit, at=NOW) for unit in ("\ud83d", "ann")]
    rows = exposure_rows(Exposures(counts={("shop", "on", HOUR): 2}, units=met, at=NOW))
    assert [(row.get("unit"), row["evaluations"]) for row in rows] == [(None, 2), ("ann", 0)]


class Desk:
    """Answers as control processes do, one after the other or in turns."""

    def __init__(self) -> None:
        self.version, self.history, self.word = 5, "a", "first"
        self.app = Starlette(routes=[Route("/api/v1/rules", self._rules)])

    def say(self, version: int, history: str, word: str) -> None:
        self.version, self.history, self.word = version, history, word

    async def _rules(self, request: Request) -> Response:
        headers = {"ETag": f'"{self.version}"'}
        if self.history:
            headers["X-Understudy-History"] = self.history
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return JSONResponse({"word": self.word}, headers=headers)


@asynccontextmanager
async def followed(desk: Desk) -> AsyncIterator[ControlStore]:
    """A store that has read what *desk* says."""
    async with served(desk.app, lifespan="off") as url:
        store = ControlStore(url, "")
        await store.open()
        try:
            yield store
        finally:
            await store.close()


async def heard(store: ControlStore) -> tuple[int, str, int]:
    found = await store.rules()
    return found.version, found.document["word"], store.condition().histories


@pytest.mark.parametrize("version", [1, 5, 9])
async def test_a_control_process_that_began_anew_is_followed(version: int) -> None:
    """Its versions are others, lower ones too, and those of the same number."""
    desk = Desk()
    async with followed(desk) as store:
        assert await heard(store) == (5, "first", 0)
        desk.say(version, "b", "anew")
        found = await store.newer(5, seconds=0.0)
        assert found is not None
        assert await heard(store) == (version, "anew", 1)
        assert await store.newer(version, seconds=0.0) is None


@pytest.mark.parametrize("version", [1, 5, 9])
async def test_one_that_is_replaced_and_answers_still_is_not_followed_back(version: int) -> None:
    """Whatever version the one behind it began with; but one that was changed since is: a kill counts."""
    desk = Desk()
    async with followed(desk) as store:
        desk.say(version, "b", "anew")
        assert await heard(store) == (version, "anew", 1)
        for late in (4, 5):
            desk.say(late, "a", "first")
            assert await heard(store) == (version, "anew", 1)
        desk.say(6, "a", "changed")
        assert await heard(store) == (6, "changed", 2)
        desk.say(version, "b", "anew")
        assert await heard(store) == (6, "changed", 2)


async def test_one_that_was_left_is_followed_again_once_no_other_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was not the one that was being replaced."""
    desk = Desk()
    async with followed(desk) as store:
        desk.say(1, "b", "anew")
        assert await heard(store) == (1, "anew", 1)
        desk.say(5, "a", "first")
        assert await heard(store) == (1, "anew", 1)
        monkeypatch.setattr(remote, "SILENT_SECONDS", -1.0)
        assert await heard(store) == (5, "first", 2)


@pytest.mark.parametrize("histories", [("", "b"), ("a", "")])
async def test_a_control_process_whose_store_is_another_is_followed(histories: tuple[str, str]) -> None:
    """From one that hosts share to a file or none, and back: each keeps versions of its own."""
    desk = Desk()
    before, behind = histories
    desk.say(5, before, "first")
    async with followed(desk) as store:
        desk.say(1, behind, "another")
        assert await heard(store) == (1, "another", 1)


async def test_many_runs_are_left_without_keeping_all() -> None:
    """A control process that cannot stay alive fills nothing."""
    desk = Desk()
    async with followed(desk) as store:
        for run in range(remote.MOST_LEFT + 3):
            desk.say(1, f"run {run}", "anew")
            await store.rules()
        assert len(store._left) == remote.MOST_LEFT
        assert "a" not in store._left


@pytest.mark.parametrize("history", ["", "a"])
async def test_without_another_history_nothing_begins_anew(history: str) -> None:
    """A lower version is an old answer, or one of a store that lost some: it is no news."""
    desk = Desk()
    desk.say(5, history, "first")
    async with followed(desk) as store:
        desk.say(4, history, "old")
        assert await store.newer(5, seconds=0.0) is None
        assert store.condition().histories == 0
