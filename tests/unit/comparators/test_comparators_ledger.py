"""`understudy.comparators.ledger`: evidence that is held in another shape and stays what it was."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.comparators import Key, merge, report
from understudy.comparators.ledger import INDEXES, SIDES, WHATS, Ledger, ledger_of

NAMES = ("v1", "v2")
ENDPOINTS = ("GET /", "GET /x")
words = st.sampled_from(["", "a", "exchange", "difference", "latency", "differing", "7"])
keys: st.SearchStrategy[Key] = st.one_of(
    st.tuples(
        st.just("exchange"), st.sampled_from(NAMES), st.sampled_from(ENDPOINTS), st.sampled_from("abc")
    ),
    st.tuples(
        st.just("difference"),
        st.sampled_from(NAMES),
        st.sampled_from(ENDPOINTS),
        st.sampled_from(["/body/a", "/status"]),
        st.sampled_from(["value", "status"]),
        st.sampled_from(WHATS),
    ),
    st.tuples(
        st.just("latency"),
        st.sampled_from(NAMES),
        st.sampled_from(ENDPOINTS),
        st.sampled_from(sorted(SIDES)),
        st.integers(0, 900).map(str),
    ),
    st.tuples(st.sampled_from(["mirror", "control"]), st.sampled_from(NAMES), words, words),
    st.lists(words, min_size=1, max_size=7).map(tuple),  # of a version before, or of one to come
)
parts = st.lists(st.dictionaries(keys, st.integers(1, 400), max_size=12), max_size=5)


@given(parts)
@settings(max_examples=50)
def test_a_ledger_is_the_sum_of_what_was_added(added: list[dict[Key, int]]) -> None:
    """Every key, also one that nobody knows, with its sum; and nothing else."""
    ledger = Ledger()
    for part in added:
        ledger.add(part)
    whole = merge(added)
    assert ledger == whole
    assert all(ledger[key] == n for key, n in whole.items())
    assert len(ledger) == len(whole)
    assert ledger_of(ledger) is ledger


@given(parts, st.integers(0, 5))
@settings(max_examples=50)
def test_however_evidence_was_split_the_report_is_the_same(added: list[dict[Key, int]], at: int) -> None:
    """Workers and hosts may send any part in any order."""
    forth, back = Ledger(), Ledger()
    for part in added:
        forth.add(part)
    for part in (merge(added[at:]), merge(reversed(added[:at]))):
        back.add(part)
    assert report(forth, control_share=0.1) == report(back, control_share=0.1)


@given(parts)
@settings(max_examples=50)
def test_odd_evidence_never_breaks_a_report(added: list[dict[Key, int]]) -> None:
    """More matched than exchanges, buckets without exchanges: a damaged store is no reason to die."""
    assert report(merge(added))["verdict"] in ("regression", "undecided", "clean")


@given(parts, st.dictionaries(st.sampled_from(ENDPOINTS), st.sampled_from(["GET /x", "GET /new"])))
@settings(max_examples=50)
def test_renaming_adds_what_comes_to_one_name(added: list[dict[Key, int]], names: dict[str, str]) -> None:
    """As if the new names had been there from the start; and the ledger itself stays as it was."""
    known = keys_of(added)
    evidence = {key: n for key, n in merge(added).items() if key in known}
    ledger = Ledger(evidence)
    expected = merge({(*key[:2], names.get(key[2], key[2]), *key[3:]): n} for key, n in evidence.items())
    assert ledger.under(names) == expected
    assert ledger == evidence


def keys_of(added: list[dict[Key, int]]) -> set[Key]:
    """The keys that belong to an endpoint."""
    return {
        key
        for part in added
        for key in part
        if (key[0], len(key)) in {("exchange", 4), ("difference", 6), ("latency", 5)}
        and (key[0] == "exchange" or (key[0] == "difference" and key[5] in WHATS) or key[3] in SIDES)
        and (key[0] != "latency" or key[4] in INDEXES)
    }


def test_what_is_not_there_is_missing() -> None:
    """As in any mapping."""
    ledger = Ledger({("exchange", "v", "GET /", "exchanges"): 3})
    assert ("exchange", "v", "GET /", "matched") not in ledger
    with pytest.raises(KeyError):
        ledger["difference", "v", "GET /", "/a", "value", "b"]
    assert ledger.get(("exchange", "v", "GET /", "matched"), 0) == 0


def test_texts_are_held_once() -> None:
    """A path that a hundred endpoints share, decoded a hundred times, is one text."""
    ledger = Ledger()
    for number in range(100):
        path = "/body/" + "items"
        ledger.add({("difference", "v", f"GET /{number}", "".join(path), "value", "differing"): 1})
    paths = {id(path) for name in ledger.endpoints() for path, _ in ledger.places(name)}
    assert len(paths) == 1


def test_a_ledger_can_be_emptied() -> None:
    """And used on."""
    ledger = Ledger({("exchange", "v", "GET /", "exchanges"): 3})
    ledger.clear()
    assert ledger == {}
    ledger.add({("exchange", "v", "GET /", "exchanges"): 1})
    assert ledger == {("exchange", "v", "GET /", "exchanges"): 1}
