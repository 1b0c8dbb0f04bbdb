"""An application none of us wrote, httpbin under gunicorn, behind ``understudy serve``.

The primary and the control are httpbin; the shadow is httpbin with a few answers altered.
"""

import gzip
import json
import sys
import uuid
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brotli
import pytest
from raw_http import Fields, RawAnswer, RawClient, Request, ask_once
from servers import Serving, StartServer, UnderstudyServe

HERE = Path(__file__).parent
AGENT: Fields = (("User-Agent", "curl/8.5"), ("Accept", "*/*"))

CONFIG = """
store: sqlite:///evidence.db
services:
  httpbin: {{url: "http://127.0.0.1:{primary}"}}
  altered: {{url: "http://127.0.0.1:{shadow}"}}
flags:
  bin:
    state: ENABLED
    variants:
      stable: {{serve: httpbin}}
      dark: {{serve: httpbin, mirror: [altered]}}
    defaultVariant: dark
    targeting: {{if: [{{"==": [{{var: headers.x-cohort}}, stable]}}, stable, dark]}}
routes:
  - {{path: /, flag: bin, unit: "header:x-user", mirror_methods: [GET, HEAD, POST]}}
# Patient, because a copy that is late on a busy machine would be no evidence.
shadow: {{control: 1.0, in_flight: 1024, timeout: 60s}}
compare:
  - {{endpoint: "GET /status/{{code}}"}}
  - {{endpoint: "GET /bytes/{{size}}"}}
  - {{endpoint: "GET /stream/{{lines}}"}}
  # Only safe requests get a second answer, so what the proxy itself changes has to be named here: the mark,
  # and a chunked body, which has a length by the time its copy is sent.
  - endpoint: "POST /anything"
    ignore: [/body/headers/X-Understudy-Shadow, /body/headers/Transfer-Encoding, /body/headers/Content-Length]
"""

# What the proxy adds for the upstream. Sent along when httpbin is asked directly, because it echoes fields.
ADDED: Fields = (
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Forwarded-Proto", "http"),
    ("X-Forwarded-Host", "httpbin.example"),
)
COHORT: Fields = (("X-Understudy-Flag", "bin"), ("X-Understudy-Variant", "dark"))


def get(target: str, *more: tuple[str, str]) -> Request:
    return Request(method="GET", target=target, fields=(*AGENT, *more))


def post(target: str, kind: str, body: bytes = b"", chunks: tuple[bytes, ...] = ()) -> Request:
    return Request(
        method="POST", target=target, fields=(*AGENT, ("Content-Type", kind)), body=body, chunks=chunks
    )


MULTIPART = (
    b'--XyZ\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
    b'--XyZ\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n" + bytes(range(256)) * 64 + b"\r\n--XyZ--\r\n"
)

STEADY = {
    "headers": get("/headers"),
    "headers, twice the same field": get("/headers", ("X-Twice", "1"), ("X-Twice", "2")),
    "gzip": get("/gzip"),
    "brotli": get("/brotli"),
    "deflate": get("/deflate"),
    "stream": get("/stream/20"),
    "bytes": get("/bytes/4096?seed=1"),
    "png": get("/image/png"),
    "html": get("/html"),
    "xml": get("/xml"),
    "utf-8": get("/encoding/utf8"),
    "204": get("/status/204"),
    "304": get("/status/304"),
    "400": get("/status/400"),
    "418": get("/status/418"),
    "503": get("/status/503"),
    "redirect": get("/redirect-to?url=%2Fget%3Fa%3D%C3%A9&status_code=307"),
    "cookies": get("/cookies/set?a=1&b=two"),
    "cookie echo": get("/cookies", ("Cookie", "a=1; b=two")),
    "delay": get("/delay/0.2"),
    "drip": get("/drip?duration=0.2&numbytes=20&delay=0"),
    "byte range": get("/range/1000", ("Range", "bytes=10-99")),
    "etag": get("/etag/abc", ("If-None-Match", '"abc"')),
    "odd target": get("/anything/a%2Fb/%E2%82%AC?x=%20&x=+&y"),
    "head": Request(method="HEAD", target="/bytes/4096?seed=1", fields=AGENT),
    "options": Request(method="OPTIONS", target="/get", fields=AGENT),
    "json": post("/anything", "application/json", json.dumps({"a": [1, 2.5, None, "é"]}).encode()),
    "form": post("/anything", "application/x-www-form-urlencoded", b"a=1&a=2&b=%C3%A9"),
    "multipart": post("/anything", "multipart/form-data; boundary=XyZ", MULTIPART),
    "chunked": post("/anything", "application/json", chunks=(b'{"a', b'": ', b"[1, 2]}")),
    "chunked, large": post("/anything", "text/plain", chunks=tuple(b"%07d|" % n * 1000 for n in range(40))),
    "empty": post("/anything", "text/plain"),
    "put": Request(method="PUT", target="/anything", fields=AGENT, body=b"x" * 200_000),
    "delete": Request(method="DELETE", target="/anything", fields=AGENT),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """httpbin, the altered httpbin, and Understudy in front of both."""

    httpbin_port: int
    serving: Serving


@pytest.fixture(scope="module")
def stage(
    free_port: Callable[[], int], start_server: StartServer, understudy_serve: UnderstudyServe
) -> Stage:
    """One stage for the module: no test changes it but by asking."""
    primary, shadow = free_port(), free_port()
    for port, application in ((primary, "httpbin:app"), (shadow, "httpbin_altered:application")):
        start_server([*gunicorn(port), application], port=port)
    serving = understudy_serve(CONFIG.format(primary=primary, shadow=shadow))
    return Stage(httpbin_port=primary, serving=serving)


def gunicorn(port: int) -> list[str]:
    options = ["--worker-class", "gthread", "--threads", "16", "--bind", f"127.0.0.1:{port}"]
    # By default it closes after two idle seconds: a POST that meets the end of its connection fails.
    options += ["--keep-alive", "75"]
    return [sys.executable, "-m", "gunicorn", *options, "--pythonpath", str(HERE), "--no-control-socket"]


def assert_same(through: RawAnswer, direct: RawAnswer) -> None:
    assert through.status_line == direct.status_line
    assert through.end_to_end == direct.end_to_end
    assert through.body == direct.body


@pytest.mark.parametrize("name", STEADY)
def test_the_client_gets_byte_for_byte_what_httpbin_answers(stage: Stage, name: str) -> None:
    """Status line, end-to-end fields in order, and body are httpbin's own, whatever the shadow does."""
    through = ask_once(stage.serving.proxy_port, STEADY[name])
    direct = ask_once(stage.httpbin_port, STEADY[name], more=(*ADDED, *COHORT))
    assert_same(through, direct)


def test_one_connection_serves_them_all(stage: Stage) -> None:
    """Sized, chunked, empty and bodyless answers follow each other on one keep-alive connection."""
    with RawClient(stage.serving.proxy_port) as client:
        for request in STEADY.values():
            assert_same(client.ask(request), ask_once(stage.httpbin_port, request, more=(*ADDED, *COHORT)))


@pytest.mark.parametrize(
    ("target", "decode"),
    [("/gzip", gzip.decompress), ("/deflate", zlib.decompress), ("/brotli", brotli.decompress)],
)
def test_compressed_answers_stay_compressed(
    stage: Stage, target: str, decode: Callable[[bytes], bytes]
) -> None:
    """The content coding passes untouched, and what it holds is readable."""
    answer = ask_once(stage.serving.proxy_port, get(target))
    assert answer.field("content-encoding") in ("gzip", "deflate", "br")
    assert json.loads(decode(answer.body))["headers"]["Host"] == "httpbin.example"


def test_random_answers_are_fresh(stage: Stage) -> None:
    """Nothing is cached: every /uuid is another one."""
    answers = [ask_once(stage.serving.proxy_port, get("/uuid")) for _ in range(5)]
    assert len({uuid.UUID(json.loads(answer.body)["uuid"]) for answer in answers}) == 5


def test_the_cohort_reaches_the_application(stage: Stage) -> None:
    """The upstream learns flag and variant, and a client cannot forge them."""
    forged = get(
        "/headers", ("X-Cohort", "stable"), ("x_understudy_variant", "dark"), ("X-Understudy-Variant", "dark")
    )
    echoed = json.loads(ask_once(stage.serving.proxy_port, forged).body)["headers"]
    assert (echoed["X-Understudy-Flag"], echoed["X-Understudy-Variant"]) == ("bin", "stable")


# What is mirrored for the report: request, and how often. Enough of each altered one for a verdict.
REHEARSED: Sequence[tuple[Request, int]] = (
    (get("/anything?a=1"), 40),
    (get("/headers"), 40),
    (get("/status/418"), 40),
    (get("/bytes/4096?seed=1"), 40),
    (get("/stream/20"), 40),
    (get("/uuid"), 60),
    (get("/gzip"), 20),
    (get("/brotli"), 20),
    (get("/deflate"), 20),
    (get("/html"), 20),
    (get("/xml"), 10),
    (get("/encoding/utf8"), 10),
    (get("/image/png"), 10),
    (get("/status/200"), 10),
    (get("/drip?duration=0.1&numbytes=10&delay=0"), 5),
    (get("/delay/0.2"), 3),
    (STEADY["json"], 10),
    (STEADY["form"], 10),
    (STEADY["multipart"], 10),
    (STEADY["chunked"], 10),
)

ALTERATIONS = {
    ("GET /anything", "/body/origin", "value"),
    ("GET /headers", "/body/headers/User-Agent", "missing"),
    ("GET /status/{code}", "/status", "status"),
    ("GET /bytes/{size}", "/body", "body"),
    ("GET /stream/{lines}", "/body", "length"),
}


@pytest.fixture(scope="module")
def report(free_port: Callable[[], int], start_server: StartServer, understudy_serve: UnderstudyServe) -> Any:
    """The report after a rehearsal on a stage of its own."""
    primary, shadow = free_port(), free_port()
    for port, application in ((primary, "httpbin:app"), (shadow, "httpbin_altered:application")):
        start_server([*gunicorn(port), application], port=port)
    serving = understudy_serve(CONFIG.format(primary=primary, shadow=shadow))
    asked = [request for request, times in REHEARSED for _ in range(times)]
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda request: ask_once(serving.proxy_port, request), asked))
    assert {answer.status for answer in answers} == {200, 418}
    return serving.settled_report(eligible=len(asked))


def findings(report: Any, verdict: str) -> set[tuple[str, str, str]]:
    return {
        (endpoint["endpoint"], finding["path"], finding["kind"])
        for endpoint in report["endpoints"]
        for finding in endpoint["findings"]
        if finding["verdict"] == verdict
    }


def test_every_copy_is_accounted_for(report: Any) -> None:
    """Nothing was lost on the way: every mirrored request was answered and compared."""
    mirror = report["mirror"]
    asked = sum(times for _, times in REHEARSED)
    assert (mirror["eligible"], mirror["sent"], mirror["answered"]) == (asked, asked, asked)
    assert report["exchanges"] == asked


def test_the_alterations_are_found_and_nothing_else(report: Any) -> None:
    """Regressions are exactly what the altering layer does."""
    assert findings(report, "regression") == ALTERATIONS
    assert report["verdict"] == "regression"


def test_noise_is_called_noise(report: Any) -> None:
    """A random value, and a field that differs in the control too, are noise."""
    noise = findings(report, "noise")
    assert ("GET /uuid", "/body/uuid", "value") in noise
    assert ("GET /headers", "/body/headers/X-Understudy-Shadow", "extra") in noise


def test_request_bodies_reach_the_shadow_whole(report: Any) -> None:
    """What httpbin echoes of JSON, form, multipart and chunked bodies is the same from the copy."""
    (endpoint,) = (item for item in report["endpoints"] if item["endpoint"] == "POST /anything")
    assert endpoint["exchanges"] == 40
    assert {finding["verdict"] for finding in endpoint["findings"]} <= {"ignored"}
