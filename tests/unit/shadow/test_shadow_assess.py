"""One pair becomes counts, a label and a few redacted samples; whatever it holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.comparators import Comparison, parse_compare_rules, report
from understudy.messages import Answer, Asked, Pair
from understudy.shadow import Assessor, Draws, Redaction
from understudy.shadow.assess import jsonable

ENDPOINT = "GET /users/{id}"
KEY = ("v2", ENDPOINT)


MULTIPART = '--B\r\nContent-Disposition: form-data; name="pin"\r\n\r\n{}\r\n--B--\r\n'


def assessor(*rules: dict[str, object]) -> Assessor:
    parsed, problems = parse_compare_rules(list(rules))
    assert problems == []
    return Assessor(Comparison(parsed), Redaction(key=b"k" * 32), Draws(chance=lambda: 0.5, places=5))


def answer(body: bytes, *, status: int = 200, kind: bytes = b"application/json") -> Answer:
    return Answer(status=status, headers=[(b"Content-Type", kind)], body=body, length_bytes=len(body))


def pair(primary: bytes, shadow: bytes, control: bytes | None = None, *, query: str = "") -> Pair:
    return Pair(
        service="v2",
        endpoint=ENDPOINT,
        flag="shop",
        method="GET",
        path="/users/7",
        query=query,
        at=1_800_000_000.0,
        primary=answer(primary),
        shadow=answer(shadow),
        control=None if control is None else answer(control),
    )


def test_equal_content_is_a_match() -> None:
    """Other bytes, the same document: counted as matched, nothing found."""
    done = assessor().assess(pair(b'{"a": 1}', b'{"a":1}'))
    assert (done.result, done.found, done.kinds) == ("match", [], [])
    assert done.counts == {("exchange", *KEY, "exchanges"): 1, ("exchange", *KEY, "matched"): 1}


def test_a_difference_is_counted_and_shown() -> None:
    """Where, what each side said, for which request."""
    done = assessor().assess(pair(b'{"a":[{"b":1}]}', b'{"a":[{"b":2}]}', query="q=1"))
    assert (done.result, done.kinds) == ("mismatch", ["value"])
    assert done.counts["difference", *KEY, "/body/a/*/b", "value", "differing"] == 1
    (found,) = done.found
    assert (found.service, found.endpoint, found.path, found.kind) == ("v2", ENDPOINT, "/body/a/*/b", "value")
    assert found.body == {
        "id": found.name,
        "primary": 1,
        "shadow": 2,
        "at": "/body/a/0/b",
        "request": "GET /users/7?q=1",
        "flag": "shop",
        "seen": 1_800_000_000.0,
        "curl": "",
    }
    assert found.whole is not None
    assert [side["body"] for side in found.whole.values()] == [{"a": [{"b": 1}]}, {"a": [{"b": 2}]}]  # type: ignore[index]


def test_the_control_is_weighed_against_the_same_primary() -> None:
    """Paired counts: only the shadow differs (b), only the control (c), both."""
    only_shadow = assessor().assess(pair(b'{"a":1}', b'{"a":2}', b'{"a":1}')).counts
    only_control = assessor().assess(pair(b'{"a":1}', b'{"a":1}', b'{"a":2}')).counts
    both = assessor().assess(pair(b'{"a":1}', b'{"a":2}', b'{"a":3}')).counts
    at = ("difference", *KEY, "/body/a", "value")
    assert (only_shadow.get((*at, "b")), only_shadow.get((*at, "c"))) == (1, None)
    assert (only_control.get((*at, "b")), only_control.get((*at, "c"))) == (None, 1)
    assert (both.get((*at, "b")), both.get((*at, "c")), both.get((*at, "control_differing"))) == (
        None,
        None,
        1,
    )


def test_known_noise_is_labelled_noise_only_when_all_of_it_is() -> None:
    """One path that is no noise makes a mismatch of it."""
    made = assessor()
    made.noise = {(*KEY, "/body/id", "value")}
    assert made.assess(pair(b'{"id":1}', b'{"id":2}')).result == "noise"
    assert made.assess(pair(b'{"id":1,"p":1}', b'{"id":2,"p":2}')).result == "mismatch"
    assert made.assess(pair(b'{"id":1}', b"{}")).result == "mismatch"


def test_what_a_rule_forgives_is_a_match_that_is_remembered() -> None:
    """Ignored differences are counted apart and have their samples."""
    done = assessor({"endpoint": "*", "ignore": ["/id"]}).assess(pair(b'{"id":1}', b'{"id":2}'))
    assert (done.result, done.kinds) == ("match", [])
    assert done.counts["exchange", *KEY, "ignored"] == 1
    assert [found.path for found in done.found] == ["/body/id"]


def test_samples_are_redacted() -> None:
    """By name, by shape, in values, keys, paths and the request."""
    done = assessor().assess(
        pair(
            b'{"token":"s3cret-1","mail":"a@example.com","by":{"b@example.com":1}}',
            b'{"token":"s3cret-2","mail":"c@example.com","by":{"b@example.com":2}}',
            query="access_token=s3cret-3&m=d%40example.com",
        )
    )
    text = str(done)
    for private in ("s3cret", "example.com"):
        assert private not in text
    assert len({str(found.body["primary"]) for found in done.found}) == 3
    assert all(found.body["primary"] != found.body["shadow"] for found in done.found)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"text/html", "<form><input name='csrf_token' value='{}'><meta name=api-key content={}></form>"),
        (b"text/html", "<p>{{}}</p><input type=password name=pin value={}>"),
        (b"application/xml", "<login><password>{}</password><x password='{}' n:pin='{}'/></login>"),
        (b"multipart/form-data; boundary=B", MULTIPART),
        (b"application/x-www-form-urlencoded", "a=1&password={}&pin={}"),
        (b"application/x-ndjson", '{{"pin":"{}"}}\n{{"x":{{"token":["{}"]}}}}'),
        (b"text/event-stream", 'data: {{"pin":"{}"}}\n\n'),
    ],
)
def test_samples_of_every_format_are_redacted(kind: bytes, body: str) -> None:
    """By the names in its paths and in the whole answers, whatever reads it."""
    one, other = (body.format(*[f"s3cret-{side}"] * 3).encode() for side in "ab")
    given_pair = pair(b"", b"")._replace(primary=answer(one, kind=kind), shadow=answer(other, kind=kind))
    done = assessor().assess(given_pair)
    assert done.found
    assert "s3cret" not in str(done)


def test_paths_that_name_somebody_are_counted_together() -> None:
    """Two users' keys are one path of evidence."""
    made = assessor()
    first = made.assess(
        pair(b'{"k":{"sk_live_abcdefghijklmnop":1}}', b'{"k":{"sk_live_abcdefghijklmnop":2}}')
    )
    second = made.assess(
        pair(b'{"k":{"sk_live_zzzzzzzzzzzzzzzz":1}}', b'{"k":{"sk_live_zzzzzzzzzzzzzzzz":2}}')
    )
    assert first.counts == second.counts
    assert first.found[0].path == "/body/k/{key}"


@given(
    st.binary(max_size=200),
    st.binary(max_size=200),
    st.sampled_from([b"application/json", b"text/html", b""]),
)
def test_any_bytes_are_taken(primary: bytes, shadow: bytes, kind: bytes) -> None:
    """Never an exception, and samples that any store can keep as JSON."""
    import json

    given_pair = Pair(
        service="v2",
        endpoint=ENDPOINT,
        flag="",
        method="GET",
        path="/\xff%",
        query="%zz&=&",
        at=0.0,
        primary=answer(primary, kind=kind),
        shadow=answer(shadow, kind=kind),
        control=None,
    )
    done = assessor().assess(given_pair)
    assert done.counts["exchange", *KEY, "exchanges"] == 1
    for found in done.found:
        json.dumps(found.body).encode()


@given(
    st.binary(max_size=100),
    st.binary(max_size=60),
    st.text(max_size=12),
    st.sampled_from(["", "ip", "header:x-user", "query:uid", "cookie:", "odd"]),
    st.sampled_from(["GET", "POST", "", "\x00"]),
)
def test_whatever_was_asked_is_taken(lines: bytes, body: bytes, unit: str, unit_at: str, method: str) -> None:
    """Never an exception, and a sample that any store can keep."""
    import json

    asked = Asked(unit=unit, unit_at=unit_at, primary="v1", lines=lines, body=body, body_bytes=len(body))
    done = assessor().assess(pair(b'{"a":1}', b'{"a":2}')._replace(asked=asked, method=method))
    (found,) = done.found
    json.dumps([found.body, found.whole]).encode()


def test_a_unit_counts_once_at_a_place() -> None:
    """Its second failure adds to the rates alone; another unit's, and nobody's, are new."""
    made = assessor()

    def counted(unit: str) -> dict[str, int]:
        asked = Asked(unit=unit, unit_at="header:x-user")
        counts = made.assess(pair(b'{"a":1}', b'{"a":2}', b'{"a":1}')._replace(asked=asked)).counts
        return {key[5]: n for key, n in counts.items() if key[0] == "difference"}

    first = counted("alice")
    assert first["differing"] == 1
    assert "b" in first
    second = counted("alice")
    assert second["differing"] == 1
    assert second != first
    assert counted("bob") == counted("") == counted("") == first


@pytest.mark.parametrize("unit", ["alice77", "alice/77", "alice~77"])
def test_a_path_that_names_the_unit_names_nobody(unit: str) -> None:
    """Keys that are the unit are one path, so that evidence holds no unit either."""
    asked = Asked(unit=unit, unit_at="header:x-user")
    bodies = [b'{"%b":{"n":%d}}' % (unit.encode(), n) for n in (1, 2)]
    done = assessor().assess(pair(*bodies)._replace(asked=asked))
    assert [found.path for found in done.found] == ["/body/{key}/n"]
    assert "alice" not in str(done)


@pytest.mark.parametrize("depth", [50, 500, 5000])
def test_deep_documents_are_taken(depth: int) -> None:
    """However deep a shadow nests: no recursion error reaches the control process."""
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    other = b'{"a":' * depth + b"2" + b"}" * depth
    done = assessor().assess(pair(deep, other))
    assert done.result == "mismatch"
    assert done.found


@pytest.mark.parametrize("value", [2**70, "\ud800", {"a": {1, 2}}, float("nan"), {1: "x"}, None, [1, "a"]])
def test_jsonable_gives_what_json_can_say(value: object) -> None:
    """The value itself, or its text."""
    import json

    json.dumps(jsonable(value)).encode()


def test_answers_that_were_cut_are_told() -> None:
    """Equal beginnings are no equal answers: the report says how many were compared by no more."""
    cut = Answer(status=200, headers=[(b"Content-Type", b"application/json")], body=b"[1", length_bytes=9)
    counts = assessor().assess(pair(b"", b"")._replace(primary=cut, shadow=cut)).counts
    assert counts["exchange", *KEY, "beginnings"] == 1
    (note,) = [text for text in report(counts)["notes"] if "beginnings" in text]
    assert note == "1 exchange with answers over the cap: only their beginnings were compared."
