"""Which fields go on: one table for both front doors and the shadow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy import forwarding
from understudy.forwarding import (
    COHORT,
    CONNECTION,
    CONTENT_LENGTH,
    CREDENTIAL,
    EXPECT,
    FORWARDING,
    HOP,
    HOST,
    MOST_SPELLINGS,
    OVERRIDE,
    PASS,
    REQUEST_ID,
    SHADOW,
    TRACE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    VIA,
    RequestSpellings,
    connection_options,
    field_bytes,
    kind_of,
    learn,
    name_of,
    without,
)

KINDS = {
    b"connection": CONNECTION,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"host": HOST,
    b"via": VIA,
    b"expect": EXPECT,
    b"upgrade": UPGRADE,
    b"trailer": TRAILER,
    b"keep-alive": HOP,
    b"proxy-connection": HOP,
    b"te": HOP,
    b"proxy-authenticate": HOP,
    b"proxy-authorization": HOP,
    b"authorization": CREDENTIAL,
    b"cookie": CREDENTIAL,
    b"x-api-key": CREDENTIAL,
    b"forwarded": FORWARDING,
    b"x-forwarded-for": FORWARDING,
    b"x-forwarded-host": FORWARDING,
    b"x-forwarded-proto": FORWARDING,
    b"x-http-method-override": OVERRIDE,
    b"x-http-method": OVERRIDE,
    b"x-method-override": OVERRIDE,
    b"x-understudy-shadow": SHADOW,
    b"x-understudy-flag": COHORT,
    b"x-understudy-": COHORT,
    b"accept": PASS,
    b"x-forwarded-port": PASS,
    b"x-understudyflag": PASS,
    b"hosts": PASS,
    b"": PASS,
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds_in_any_case(name: bytes) -> None:
    """Case says nothing."""
    assert {kind_of(name), kind_of(name.upper()), kind_of(name.title())} == {KINDS[name]}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (b"X_Understudy_Variant", COHORT),
        (b"x-understudy_shadow", SHADOW),
        (b"X_Forwarded_For", FORWARDING),
        (b"x_api_key", CREDENTIAL),
        (b"X_HTTP_Method_Override", OVERRIDE),
        (b"Content_Length", HOP),
        (b"transfer_encoding", HOP),
        (b"Proxy_Connection", HOP),
        (b"keep_alive", HOP),
        (b"x_fine", PASS),
    ],
)
def test_underscores_count_as_dashes(name: bytes, kind: int) -> None:
    """WSGI merges them; a twin of a framing field frames nothing and goes nowhere."""
    assert kind_of(name) == kind


def test_learning_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client inventing names gets right answers and fills no memory."""
    table: dict[bytes, int] = {}
    monkeypatch.setattr(forwarding, "spellings", table)
    for number in range(MOST_SPELLINGS + 10):
        assert learn(b"x-%d" % number) == PASS
    assert len(table) == MOST_SPELLINGS
    assert learn(b"HOST") == HOST


def test_what_else_is_looked_at_in_requests() -> None:
    """The trace, and the field that carries ids, in any spelling; bounded like the other."""
    spelled = RequestSpellings(b"x_call-id")
    learned = {name: spelled.learn(name) for name in (b"X-Call_Id", b"TRACEPARENT", b"tracestate", b"Host")}
    assert learned == {
        b"X-Call_Id": REQUEST_ID,
        b"TRACEPARENT": TRACE,
        b"tracestate": PASS,
        b"Host": HOST,
    }
    assert spelled.kinds == learned
    for number in range(MOST_SPELLINGS + 10):
        spelled.learn(b"x-%d" % number)
    assert len(spelled.kinds) == MOST_SPELLINGS
    assert RequestSpellings().learn(b"x-request-id") == PASS


@pytest.mark.parametrize(
    ("value", "options"),
    [
        (b"close", [b"close"]),
        (b"Keep-Alive, X-A", [b"keep-alive", b"x-a"]),
        (b" , ,\tx-a\t,", [b"x-a"]),
        (b"", []),
    ],
)
def test_connection_options(value: bytes, options: list[bytes]) -> None:
    """Lower case, without space and empty items."""
    assert connection_options(value) == options


@given(st.lists(st.binary()), st.data())
def test_without_leaves_the_others_in_order(lines: list[bytes], data: st.DataObject) -> None:
    """And the given list as it was."""
    positions = sorted(data.draw(st.sets(st.sampled_from(range(len(lines))))) if lines else [])
    before = lines.copy()
    assert without(lines, positions) == [line for at, line in enumerate(lines) if at not in positions]
    assert lines == before


def test_names_of_lines() -> None:
    """Lower case, up to the colon."""
    assert name_of(b"X-A: b: c") == b"x-a"


def test_field_bytes_are_bytes_on_the_wire() -> None:
    """Names, values, colon, space and line ends."""
    assert field_bytes([(b"A", b"1"), (b"Bc", b"")]) == len(b"A: 1\r\nBc: \r\n")
