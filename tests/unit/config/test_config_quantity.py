"""Durations, sizes, shares and counts as people write them."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.config.place import Refused
from understudy.config.quantity import (
    duration_text,
    read_count,
    read_duration,
    read_share,
    read_size,
    size_text,
)

UNITS = "units: ms, s, m, h; for example 5s"
SIZES = "units: B, KB, MB, GB (1000) and KiB, MiB, GiB (1024); for example 64MiB"


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("5s", 5.0),
        ("5 s", 5.0),
        ("200ms", 0.2),
        ("2m", 120.0),
        ("1.5 h", 5400.0),
        ("1.5", 1.5),
        (3, 3.0),
        (0.25, 0.25),
    ],
)
def test_a_duration_is_seconds(written: object, seconds: float) -> None:
    """Each unit is worth its seconds; a bare number is seconds."""
    assert read_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("512", 512),
        (512, 512),
        ("1 MB", 1_000_000),
        ("64MiB", 67_108_864),
        ("1.5KiB", 1536),
        ("0B", 0),
        (0, 0),
    ],
)
def test_a_size_is_bytes(written: object, size: int) -> None:
    """KB counts by 1000, KiB by 1024."""
    assert read_size(written) == size


@pytest.mark.parametrize(
    ("read", "written", "message", "hint"),
    [
        (read_duration, "5 parsecs", '"5 parsecs" is not a duration: unknown unit "parsecs"', UNITS),
        (read_duration, "5 sec", '"5 sec" is not a duration: unknown unit "sec"', "did you mean 5s?"),
        (read_duration, "5S", '"5S" is not a duration: unknown unit "S"', "did you mean 5s?"),
        (
            read_duration,
            "10 Minutes",
            '"10 Minutes" is not a duration: unknown unit "Minutes"',
            "did you mean 10m?",
        ),
        (read_duration, "5  s", '"5  s" is not a duration', UNITS),
        (read_duration, "5s\n", '"5s\\n" is not a duration', UNITS),
        (read_duration, "1m30s", '"1m30s" is not a duration', UNITS),
        (read_duration, "\u0665s", '"\u0665s" is not a duration', UNITS),
        (read_duration, "", '"" is not a duration', UNITS),
        (read_duration, "-1s", '"-1s" is not a duration', UNITS),
        (read_duration, True, "must be a duration, not true", UNITS),
        (read_duration, None, "must be a duration, not nothing", UNITS),
        (read_duration, [5], "must be a duration, not a list", UNITS),
        (read_duration, 0, "must be longer than 0, not 0", "every wait has an end"),
        (read_duration, "0 ms", 'must be longer than 0, not "0 ms"', "every wait has an end"),
        (read_duration, -1, "must be longer than 0, not -1", "every wait has an end"),
        (read_duration, "25h", 'must be at most 24h, not "25h"', ""),
        (read_size, "64mib", '"64mib" is not a size: unknown unit "mib"', "did you mean 64MiB?"),
        (read_size, "64M", '"64M" is not a size: unknown unit "M"', SIZES),
        (read_size, "many", '"many" is not a size', SIZES),
        (read_size, 1.5, "must be a size in bytes, not 1.5", SIZES),
        (read_size, False, "must be a size in bytes, not false", SIZES),
        (read_size, "1.0001KiB", '"1.0001KiB" is not a whole number of bytes', ""),
        (read_size, -1, "must be 0 or more, not -1", ""),
        (read_size, "2000GiB", 'must be at most 1024GiB, not "2000GiB"', ""),
        (read_share, "10%", 'must be a number from 0 to 1, not "10%"', "did you mean 0.1?"),
        (read_share, 10, "must be a number from 0 to 1, not 10", "did you mean 0.1?"),
        (read_share, -0.1, "must be a number from 0 to 1, not -0.1", ""),
        (read_share, True, "must be a number from 0 to 1, not true", ""),
        (read_share, "0.1", 'must be a number from 0 to 1, not "0.1"', ""),
    ],
)
def test_a_wrong_amount_says_what_was_meant(
    read: Callable[[object], object], written: object, message: str, hint: str
) -> None:
    """The message repeats what was written; the hint names the units or the likely amount."""
    with pytest.raises(Refused) as refused:
        read(written)
    assert (refused.value.message, refused.value.hint) == (message, hint)


@pytest.mark.parametrize("share", [float("nan"), float("inf")])
def test_a_share_is_finite(share: float) -> None:
    """NaN compares with nothing, so it must be refused and not slip through."""
    with pytest.raises(Refused):
        read_share(share)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("four", 'must be a whole number, not "four"'),
        (1.0, "must be a whole number, not 1.0"),
        (True, "must be a whole number, not true"),
        (0, "must be 1 to 8, not 0"),
        (9, "must be 1 to 8, not 9"),
    ],
)
def test_a_count_is_whole_and_bounded(value: object, message: str) -> None:
    """Booleans and floats are no counts, and both ends hold."""
    with pytest.raises(Refused) as refused:
        read_count(value, least=1, most=8)
    assert refused.value.message == message


@given(st.integers(min_value=1, max_value=24 * 3600 * 1000))
def test_a_written_duration_reads_back(milliseconds: int) -> None:
    """What we print for a duration means the same duration."""
    seconds = milliseconds / 1000
    assert read_duration(duration_text(seconds)) == pytest.approx(seconds)


@given(st.integers(min_value=0, max_value=2**40))
def test_a_written_size_reads_back(size: int) -> None:
    """What we print for a size means the same size."""
    assert read_size(size_text(size)) == size


@given(st.text() | st.integers() | st.floats() | st.none() | st.booleans())
def test_reading_only_ever_refuses(value: object) -> None:
    """Whatever is written, the answer is an amount within its bounds or a refusal."""
    for read, most in ((read_duration, 24 * 3600), (read_size, 2**40), (read_share, 1)):
        try:
            amount = read(value)
        except Refused:
            continue
        assert 0 <= amount <= most
