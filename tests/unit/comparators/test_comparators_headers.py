"""`understudy.comparators.headers`, through `Comparison`."""

import pytest
from comparators_examples import Fields, answer, compare, json_answer, named
from hypothesis import given
from hypothesis import strategies as st

from understudy.comparators import UNCOMPARED_HEADERS, VOLATILE_HEADERS


@pytest.mark.parametrize(
    ("primary", "shadow", "expected"),
    [
        ([("X-A", "1")], [("x-a", "1")], []),
        ([("X-A", "1")], [("X-A", "2")], [("/headers/x-a", "header")]),
        ([("X-A", "1")], [], [("/headers/x-a", "missing")]),
        ([], [("X-A", "1")], [("/headers/x-a", "extra")]),
        ([("X-A", "1"), ("X-A", "2")], [("X-A", "2"), ("X-A", "1")], []),
        ([("X-A", "1"), ("X-A", "1")], [("X-A", "1")], [("/headers/x-a", "header")]),
        ([("Date", "a")], [("Date", "b")], []),
        ([("Date", "a")], [], [("/headers/date", "missing")]),
        ([("Server", "a/1")], [("Server", "b/2")], []),
        ([("X-Request-Id", "a")], [("X-Request-Id", "b")], []),
        ([("Connection", "close")], [("Transfer-Encoding", "chunked")], []),
        ([("Content-Length", "1")], [("Content-Length", "2")], []),
        ([("Via", "1.1 a")], [], []),
        ([("Vary", "Accept, Cookie")], [("Vary", "cookie"), ("Vary", "accept")], []),
        ([("Vary", "Accept")], [("Vary", "Cookie")], [("/headers/vary", "header")]),
        ([("Set-Cookie", "a=1")], [("Set-Cookie", "a=2")], [("/headers/set-cookie/a", "value")]),
        ([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], [("Set-Cookie", "b=2"), ("Set-Cookie", "a=1")], []),
        ([("Set-Cookie", "a=1")], [], [("/headers/set-cookie/a", "missing")]),
        ([], [("Set-Cookie", "a=1")], [("/headers/set-cookie/a", "extra")]),
        (
            [("Set-Cookie", "a=1; HttpOnly")],
            [("Set-Cookie", "a=2")],
            [("/headers/set-cookie/a", "header"), ("/headers/set-cookie/a", "value")],
        ),
        ([("Set-Cookie", "a=1; Expires=Thu, 1 Jan")], [("Set-Cookie", "a=1; expires=Fri, 2 Jan")], []),
        ([("Content-Encoding", "x")], [("Content-Encoding", "y")], [("/headers/content-encoding", "header")]),
    ],
)
def test_fields(primary: Fields, shadow: Fields, expected: list[tuple[str, str]]) -> None:
    """Names in any case, values as multisets, cookies by name; what belongs to the way is not compared."""
    assert named(compare(answer(fields=primary), answer(fields=shadow))) == expected


@pytest.mark.parametrize(
    ("primary", "shadow", "differs"),
    [
        ("text/html", "TEXT/HTML", False),
        ("text/html;charset=UTF-8", "text/html; charset=utf8", False),
        ("text/html; charset=utf-8", "text/html", True),
        ("text/plain", "text/html", True),
        ("multipart/mixed; boundary=a", "multipart/mixed; boundary=b", False),
        ('multipart/related; boundary=a; start="<1>"', 'multipart/related; boundary=b; start="<2>"', False),
        ("application/json;odata.metadata=minimal", "application/json;odata.metadata=full", True),
        ("text/csv; header=present;charset=utf-8", 'Text/CSV; charset=utf-8; header="present"', False),
        ("text/html; charset", "text/html;", False),
        ("text/plain", "", True),
    ],
)
def test_content_types(primary: str, shadow: str, differs: bool) -> None:
    """Media type and parameters count; spelling, order, and what frames a multipart body do not."""
    expected = [("/headers/content-type", "content_type")] if differs else []
    assert named(compare(answer("a", kind=primary), answer("a", kind=shadow))) == expected


def test_head_answers_compare_their_length_and_no_body() -> None:
    """The Content-Length of a HEAD answer stands for the body it does not have."""
    a, b = (answer(fields=[("Content-Length", n)]) for n in "12")
    assert named(compare(a, b, method="HEAD")) == [("/headers/content-length", "header")]
    assert compare(a, answer("stray bytes", fields=[("Content-Length", "1")]), method="HEAD") == []


def test_another_status_says_all_about_the_fields() -> None:
    """A failed answer is one finding (and its body), not one per field that it lacks."""
    error = json_answer({"error": "x"}, status=500)
    found = compare(json_answer({"a": 1, "b": 2}, fields=[("ETag", "1")]), error)
    assert named(found) == [("/body", "body"), ("/status", "status")]
    assert (found[0].primary, found[0].shadow) == (200, 500)


def test_an_ignored_status_leaves_the_rest_to_be_compared() -> None:
    """Where the rules forgive the status, the answers are laid side by side."""
    found = compare(json_answer({"a": 1}), json_answer({"a": 2}, status=201), {"ignore": ["/status"]})
    assert named(found) == [("/body/a", "value")]


def test_the_lists_are_lower_case_and_apart() -> None:
    """The worker and the comparators read the same two lists."""
    assert not VOLATILE_HEADERS & UNCOMPARED_HEADERS
    assert all(name == name.lower() for name in VOLATILE_HEADERS | UNCOMPARED_HEADERS)


FIELD = st.tuples(
    st.sampled_from(["Date", "date", "ETag", "X-A", "x-a", "Via", "Vary", "Content-Length", "Set-Cookie"]),
    st.sampled_from(["a", "b", "A, b"]),
)


@given(st.lists(FIELD, max_size=4), st.lists(FIELD, max_size=4))
def test_the_quick_look_at_fields_hides_nothing(
    mine: list[tuple[str, str]], theirs: list[tuple[str, str]]
) -> None:
    """Fields in one order are looked at quickly; in another order the same comes out."""
    quick = compare(answer(fields=mine), answer(fields=theirs))
    assert named(quick) == named(compare(answer(fields=mine), answer(fields=theirs[::-1])))


def test_a_second_content_type_is_a_difference() -> None:
    """Clients choose the first or the last, so that it does matter."""
    one, two, other = (
        answer("{}", fields=[("Content-Type", kind) for kind in kinds])
        for kinds in (["text/plain"], ["text/plain", "text/html"], ["text/plain", "text/css"])
    )
    assert named(compare(one, two)) == [("/headers/content-type", "extra")]
    assert named(compare(two, other)) == [("/headers/content-type", "header")]
