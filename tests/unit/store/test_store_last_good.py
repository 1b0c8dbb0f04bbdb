"""The last good rules on disk: whole, private, and never half of anything."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.store import StoredRules
from understudy.store.last_good import LastGood
from understudy.store.rules import json_text, stored_rules

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def version(document: dict[str, Any], number: int = 1) -> StoredRules:
    return stored_rules(version=number, text=json_text(document), author="ann", reason="é", at=1.5)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), JSON, max_size=4), st.integers(1, 2**31))
def test_what_is_written_is_read(document: dict[str, Any], number: int) -> None:
    """Version, document, author, reason, time, checksum and the mark of the store."""
    with tempfile.TemporaryDirectory() as folder:
        last_good = LastGood(Path(folder) / "rules.json")
        rules = version(document, number)
        last_good.write(rules, "mark")
        assert last_good.read() == (rules, "mark")


def test_there_may_be_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A first start is no trouble, and not worth a line in the log."""
    assert LastGood(tmp_path / "rules.json").read() is None
    assert caplog.text == ""


def test_the_newest_replaces_the_one_before(tmp_path: Path) -> None:
    """One file, for its owner alone; nothing else stays in the folder."""
    last_good = LastGood(tmp_path / "rules.json")
    for number in (1, 2):
        last_good.write(version({"n": number}, number), "mark")
    found = last_good.read()
    assert found is not None
    assert found[0].version == 2
    assert [path.name for path in tmp_path.iterdir()] == ["rules.json"]
    assert last_good.path.stat().st_mode & 0o777 == 0o600


def test_every_cut_and_every_changed_byte_is_noticed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that was full, a hand that slipped: then there are no last good rules, and the log says why."""
    last_good = LastGood(tmp_path / "rules.json")
    last_good.write(version({"n": 1}), "mark")
    whole = last_good.path.read_bytes()
    for at in range(len(whole)):
        last_good.path.write_bytes(whole[:at])
        assert last_good.read() is None
        last_good.path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert last_good.read() is None
    assert f"the last good rules in {last_good.path} cannot be used" in caplog.text


def test_a_folder_that_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    """The caller is told; the rules that are there stay as they are."""
    with pytest.raises(OSError, match="No such file"):
        LastGood(tmp_path / "gone" / "rules.json").write(version({}), "mark")
    assert list(tmp_path.iterdir()) == []


def test_a_thread_that_comes_late_does_not_put_older_rules_back(tmp_path: Path) -> None:
    """Of one store; a kill must not be lost at the next start. Another store begins anew."""
    file = LastGood(tmp_path / "rules")
    for number, origin, kept in ((7, "a", (7, "a")), (6, "a", (7, "a")), (2, "b", (2, "b"))):
        file.write(version({"n": number}, number), origin)
        found = file.read()
        assert found is not None
        assert (found[0].version, found[1]) == kept


def test_of_one_process_the_lower_version_stays_that_was_read_later(tmp_path: Path) -> None:
    """It began anew, and its reader knows."""
    file = LastGood(tmp_path / "rules")
    file.write(version({"n": 7}, 7), "mark", read_at=10.0)
    file.write(version({"n": 6}, 6), "mark", read_at=9.0)
    assert file.read() == (version({"n": 7}, 7), "mark")
    file.write(version({"n": 1}, 1), "mark", read_at=11.0)
    assert file.read() == (version({"n": 1}, 1), "mark")


def test_of_several_processes_the_higher_version_stays(tmp_path: Path) -> None:
    """Unless the lower one was read later, for then the store was put back; another store's always go."""
    one, two = LastGood(tmp_path / "rules.json"), LastGood(tmp_path / "rules.json")
    one.write(version({"n": 5}, 5), "mark", read_at=10.0)
    two.write(version({"n": 4}, 4), "mark", read_at=9.0)
    assert one.read() == (version({"n": 5}, 5), "mark")
    two.write(version({"n": 4}, 4), "mark", read_at=11.0)
    assert one.read() == (version({"n": 4}, 4), "mark")
    LastGood(tmp_path / "rules.json").write(version({"n": 6}, 6), "mark", read_at=1.0)
    assert one.read() == (version({"n": 6}, 6), "mark")
    LastGood(tmp_path / "rules.json").write(version({"n": 1}, 1), "other", read_at=0.0)
    assert one.read() == (version({"n": 1}, 1), "other")
    assert [path.name for path in tmp_path.iterdir()] == ["rules.json"]


def test_nobody_reads_half_of_what_others_write(tmp_path: Path) -> None:
    """Four that write at once, each as a process of its own would; the newest is what is left."""
    path = tmp_path / "rules.json"
    LastGood(path).write(version({"n": 1}, 1), "mark", read_at=1.0)

    def write(turn: int) -> None:
        file = LastGood(path)
        for number in range(2, 30):
            rules = version({"n": number, "x": "x" * 20_000}, number)
            file.write(rules, "mark", read_at=float(number) + turn / 10)

    with ThreadPoolExecutor(4) as threads:
        writing = [threads.submit(write, turn) for turn in range(4)]
        found = []
        while not all(each.done() for each in writing):
            found.append(LastGood(path).read())
    assert None not in found
    last = LastGood(path).read()
    assert last is not None
    assert last[0].version == 29
    assert [each.result() for each in writing] == [None] * 4
