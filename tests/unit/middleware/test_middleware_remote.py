"""What is sent to a control process of who met which variant: all of it, in pieces that it takes."""

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.middleware.remote import ROWS, ROWS_BYTES, exposure_rows, pieces
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
