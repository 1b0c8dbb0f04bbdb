"""One sample in full."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_examples import HOSTILE

from understudy.report import render_sample_html
from understudy.report.marks import Side
from understudy.report.whole import read_whole


def sample(primary: Any, shadow: Any, **more: Any) -> dict[str, Any]:
    """A sample as the API tells it."""
    return {
        "id": "0123456789abcdef",
        "service": "v2",
        "endpoint": "GET /orders/{id}",
        "path": "/body/total",
        "kind": "value",
        "primary": primary,
        "shadow": shadow,
        **more,
    }


def answer(body: Any, status: int = 200, *headers: list[str]) -> dict[str, Any]:
    """One side."""
    return {"status": status, "headers": list(headers), "body": body}


def text(side: Side) -> str:
    """What stands there."""
    return "".join(span.text for span in side)


def changed(side: Side) -> list[str]:
    """What is marked there."""
    return [span.text for span in side if span.kind == "changed"]


def test_the_differing_part_of_a_body_is_marked() -> None:
    """Line by line, and word by word within a line."""
    whole = read_whole(sample(answer({"a": 1, "total": 9.5}), answer({"a": 1, "total": 8.5})))

    assert text(whole.body[0]) == '{\n  "a": 1,\n  "total": 9.5\n}'
    assert changed(whole.body[0]) == ["9"]
    assert changed(whole.body[1]) == ["8"]


def test_numbers_keep_every_digit() -> None:
    """Neighbours beyond 2**53, which a browser could not tell apart, are told apart."""
    whole = read_whole(sample(answer({"n": 2**53 + 1}), answer({"n": 2**53})))

    assert text(whole.body[0]) != text(whole.body[1])


def test_headers_stand_beside_each_other() -> None:
    """By name, whatever its case; several of one name together; the missing one is empty."""
    whole = read_whole(
        sample(
            answer("", 200, ["ETag", '"1"'], ["Set-Cookie", "a=1"], ["Set-Cookie", "b=2"]),
            answer("", 200, ["etag", '"2"'], ["X-New", "yes"]),
        )
    )

    rows = [(row.name, text(row.primary), text(row.shadow), row.differs) for row in whole.headers]
    assert rows == [
        ("etag", '"1"', '"2"', True),
        ("set-cookie", "a=1, b=2", "", True),
        ("x-new", "", "yes", True),
    ]


def test_a_text_body_is_shown_as_it_is() -> None:
    """Without quotes around it, line ends kept, what cannot be seen spelled."""
    whole = read_whole(sample(answer("one\ntwo\x1b"), answer("one\n2")))

    assert text(whole.body[0]) == "one\ntwo\\x1b"


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_only_ever_text(hostile: str) -> None:
    """In every place of a sample."""
    side = answer({hostile: hostile}, 200, [hostile, hostile])
    changes = [{"path": hostile, "change": hostile, "primary": hostile, "shadow": hostile}]
    names = dict.fromkeys(("service", "endpoint", "path", "kind", "at", "request", "flag", "curl"), hostile)

    page = render_sample_html(sample(side, side, explanation=changes, **names))

    assert page.count("<script") == 1  # our own
    for tag in ("<img", "<iframe", "<svg", "<style", "<base", "<form", "<object"):
        assert tag not in page


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(["primary", "shadow", "explanation", "path", "seen", "curl"]), JSON))
def test_any_json_is_a_page(document: dict[str, Any]) -> None:
    """Whatever an older or newer version has stored."""
    render_sample_html(document).encode()
