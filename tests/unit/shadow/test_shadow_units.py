"""Units: named by a keyed digest, counted once at each place, remembered within bounds."""

from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.shadow.units import CountedUnits, unit_digest

PRICE, STATUS = ("/body/price", "value"), ("/status", "status")


def test_a_unit_is_named_by_a_keyed_hash() -> None:
    """The same with the same key, another with another; nobody is nobody."""
    name = unit_digest(b"k" * 32, "alice")
    assert len(name) == 16
    assert name == unit_digest(b"k" * 32, "alice")
    assert name not in (unit_digest(b"k" * 32, "Alice"), unit_digest(b"l" * 32, "alice"))
    assert (unit_digest(b"k" * 32, ""), unit_digest(b"", "alice")) == ("", "")
    assert len(unit_digest(b"k", "\ud800")) == 16


def test_a_unit_counts_once_at_each_place() -> None:
    """Per service, endpoint, path and kind; another unit counts for itself."""
    counted = CountedUnits()
    assert counted.repeated("alice", "v2", "GET /", [PRICE]) == set()
    assert counted.repeated("alice", "v2", "GET /", [PRICE, STATUS]) == {PRICE}
    assert counted.repeated("alice", "v2", "GET /", [PRICE, STATUS]) == {PRICE, STATUS}
    assert counted.repeated("alice", "v3", "GET /", [PRICE]) == set()
    assert counted.repeated("alice", "v2", "POST /", [PRICE]) == set()
    assert counted.repeated("bob", "v2", "GET /", [PRICE]) == set()


def test_nobody_is_never_repeated() -> None:
    """Without a unit each exchange is its own."""
    counted = CountedUnits()
    for _ in range(3):
        assert counted.repeated("", "v2", "GET /", [PRICE]) == set()
    assert len(counted) == 0


@settings(max_examples=30)
@given(st.lists(st.integers(0, 40), max_size=200))
def test_memory_is_bounded_and_the_recent_is_known(units: list[int]) -> None:
    """At most two generations; whoever was among the last ten different ones is known."""
    counted = CountedUnits(most=10)
    seen: list[int] = []
    for unit in units:
        is_known = counted.repeated(f"{unit}", "v2", "GET /", [PRICE]) == {PRICE}
        if unit in seen[-10:]:
            assert is_known
        if unit not in seen:
            assert not is_known
        seen = [other for other in seen if other != unit] + [unit]
        assert len(counted) <= 20
