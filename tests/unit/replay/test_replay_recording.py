"""`understudy.replay.recording`: which requests of a file are asked again, in which order."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from understudy.replay import RecordingError, Selection, recording
from understudy.replay.recording import read_recording

HERE = Path(__file__).parent
SAFE = Selection(methods=frozenset({"GET", "HEAD", "OPTIONS"}))
ALL = Selection(methods=None)


def write(folder: Path, *entries: dict[str, Any]) -> Path:
    path = folder / "some.har"
    path.write_text(json.dumps({"log": {"entries": entries}}))
    return path


def entry(url: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    return {"request": {"method": method, "url": url, **more}}


def test_a_browser_file_gives_the_requests_to_its_host() -> None:
    """By time; each other entry is counted by its reason."""
    read = read_recording(HERE / "browser.har", SAFE)
    assert [request.path for request in read.requests] == ["/orders/1", "/search"]
    assert read.requests[1].query == "q=caf%C3%A9%20noir"
    assert read.entries == 8
    assert read.skipped == {"websocket": 1, "not_http": 2, "body_missing": 1, "method": 1, "other_host": 1}
    assert read.entries == len(read.requests) + sum(read.skipped.values())
    assert read.replayed_hosts == ("shop.example",)
    assert read.hosts == {"shop.example": 3, "fonts.example": 1}
    assert read.requests[0].headers == (
        (b"accept", b"application/json"),
        (b"accept-encoding", b"gzip, deflate, br, zstd"),
        (b"x-tag", b"one"),
        (b"x-tag", b"two"),
    )
    assert read.requests[0].credentials == ((b"cookie", b"sid=s3cret; theme=dark"),)


def test_all_methods_take_the_form_too() -> None:
    """A form that Chrome wrote as parameters is the body again."""
    read = read_recording(HERE / "browser.har", ALL)
    assert [(r.method, r.body) for r in read.requests if r.body] == [("POST", b"name=Ada+L&q=a%26b")]


def test_a_mitmproxy_file_is_read() -> None:
    """With its byte order mark, decoded text under a Content-Encoding, and Base64."""
    read = read_recording(HERE / "mitmproxy.har", ALL)
    put, post = read.requests
    assert (put.method, put.host, put.body) == ("PUT", "api.example:8000", '{"name": "grün"}'.encode())
    assert put.headers == ((b"Content-Type", b"application/json"),)
    assert put.credentials == ((b"Authorization", b"Bearer aaa.bbb"), (b"Cookie", b"sid=abc"))
    assert post.body == b"\0\1\2\xff"
    assert post.at is not None
    assert put.at is not None
    assert post.at - put.at == pytest.approx(0.5)


def test_hosts_can_be_chosen(tmp_path: Path) -> None:
    """Named hosts replace the one with most requests."""
    path = write(tmp_path, entry("http://a/1"), entry("http://a/2"), entry("http://b:81/3"))
    named = Selection(methods=None, hosts=frozenset({"b:81"}))
    assert [r.path for r in read_recording(path, ALL).requests] == ["/1", "/2"]
    assert [r.path for r in read_recording(path, named).requests] == ["/3"]


def test_an_override_is_a_method(tmp_path: Path) -> None:
    """A GET that means DELETE is not safe."""
    override = [{"name": "X-HTTP-Method-Override", "value": "delete"}]
    path = write(tmp_path, entry("http://a/1", headers=override))
    assert read_recording(path, SAFE).skipped == {"method": 1}


def test_bodies_are_bounded(tmp_path: Path) -> None:
    """As those of copies are."""
    path = write(tmp_path, entry("http://a/1", "POST", postData={"text": "x" * 11}))
    assert read_recording(path, Selection(methods=None, most_body_bytes=10)).skipped == {"body_too_large": 1}


def test_a_cut_file_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    """And the cut is told."""
    whole = (HERE / "browser.har").read_bytes()
    path = tmp_path / "cut.har"
    path.write_bytes(whole[: whole.index(b"fonts.example")])
    read = read_recording(path, SAFE)
    assert [request.path for request in read.requests] == ["/orders/1"]
    assert read.entries == 5
    assert "it ends inside the value at character" in read.broken


def test_too_many_requests_are_refused_with_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody's memory is filled by a file."""
    monkeypatch.setattr(recording, "MOST_REQUESTS", 1)
    path = write(tmp_path, entry("http://a/1"), entry("http://a/2"))
    with pytest.raises(RecordingError, match=r"more requests than can be held .* split the file"):
        read_recording(path, ALL)


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    """No such file, a folder, a compressed one, another document."""
    packed = tmp_path / "x.har.gz"
    packed.write_bytes(gzip.compress(b"{}"))
    other = tmp_path / "x.json"
    other.write_text('{"swagger": "2.0"}')
    for path, message in (
        (tmp_path / "none.har", "there is no such file"),
        (tmp_path, "cannot be read: Is a directory"),
        (packed, "is compressed; unpack it first"),
        (other, "is no HAR: it has no 'log'"),
    ):
        with pytest.raises(RecordingError) as refused:
            read_recording(path, ALL)
        assert str(refused.value).startswith(f"{path}: {message}")
