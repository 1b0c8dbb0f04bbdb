"""What is left on disk for the next control process, and what is made of it."""

from pathlib import Path

import orjson
import pytest

from understudy.app.past import Past


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    """The gone with their counts, the living by name."""
    past = Past(tmp_path / "past")
    past.keep({"0-1": {"errors": [["x", 1]], "gone": True}}, ["0-2"])
    assert past.load() == ({"0-1": {"errors": [["x", 1]], "gone": True}}, frozenset({"0-2"}))


def test_the_first_of_a_run_finds_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """That is as it should be, so nothing is said."""
    assert Past(tmp_path / "past").load() == ({}, frozenset())
    assert caplog.messages == []


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b'{"version": "0.0.0", "gone": 1, "alive": []}'])
def test_what_cannot_be_used_is_left(damage: bytes, tmp_path: Path) -> None:
    """Damaged, or of another version, which may count otherwise: the counts begin anew."""
    (tmp_path / "past").write_bytes(damage)
    assert Past(tmp_path / "past").load() == ({}, frozenset())


def test_a_disk_that_takes_nothing_costs_no_more_than_the_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, and the control process goes on."""
    Past(tmp_path / "none" / "past").keep({}, [])
    assert "cannot be kept" in caplog.text


def test_a_reader_never_sees_half_of_it(tmp_path: Path) -> None:
    """The new one takes the place of the old in one step; nothing else stays in the folder."""
    past = Past(tmp_path / "past")
    past.keep({}, ["a"])
    past.keep({}, ["b"])
    assert [path.name for path in tmp_path.iterdir()] == ["past"]
    assert orjson.loads((tmp_path / "past").read_bytes())["alive"] == ["b"]
