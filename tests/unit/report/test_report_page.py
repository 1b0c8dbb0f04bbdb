"""The report as a page."""

import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from report_examples import HOSTILE, clean, empty, endpoint, finding, full, hostile, huge, undecided

from understudy.report import STATIC, file_policy, read_search, render_html, render_live_html, static_file
from understudy.report.visible import visible

VOID = {"meta", "link", "br", "img", "input", "hr", "line", "rect", "path"}
KNOWN = frozenset(
    """html head meta title style body header main footer section p h1 h2 h3 span code pre mark i b em br div
    dl dt dd ul li details summary table caption thead tbody tr th td svg rect line text a link script
    noscript h4 figure figcaption desc path form input select option label button dialog""".split()  # noqa: SIM905 - a list of forty strings would not be read
)
REPORTS = {
    "full": full,
    "empty": empty,
    "clean": clean,
    "undecided": undecided,
    "huge": huge,
    "hostile": hostile,
}


class Page(HTMLParser):
    """Checks that every tag closes in order; collects tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.fields: dict[str, str] = {}
        self.actions: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = {name: value or "" for name, value in attrs}
        if tag == "input":
            self.fields[given["id"]] = given["value"]
        if "data-action" in given:
            self.actions.append(f"{given['data-action']} {given['data-path']}")
        self.attributes |= {name for name, _ in attrs}
        self.ids += [value for name, value in attrs if name == "id" and value]
        links = [value or "" for name, value in attrs if name in ("href", "src")]
        self.links += [link for link in links if not link.startswith("#")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize("render", [render_html, render_live_html])
@pytest.mark.parametrize("name", REPORTS)
def test_the_page_is_well_formed(render: Callable[[dict[str, Any]], str], name: str) -> None:
    """Every tag closes in order, ids are unique, and only tags of ours occur, whatever the report holds."""
    page = Page(render(REPORTS[name]()))

    assert page.tags <= KNOWN
    assert len(set(page.ids)) == len(page.ids)
    assert [name for name in page.attributes if name.startswith("on") or name == "style"] == []


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_ever_text(text: str) -> None:
    """It stands in the page as text, character for character or spelled out."""
    page = Page(render_html(hostile()))

    shown = visible(text)
    assert shown in "".join(page.text)
    assert any(part.strip() == f"GET /{shown}" for part in page.text)


def test_the_file_needs_nothing_else() -> None:
    """No script, no link, no request: its policy allows its own style sheet and nothing more."""
    text = render_html(full())
    page = Page(text)

    assert page.links == []
    assert "script" not in page.tags
    assert file_policy().replace("'", "&#39;") in text
    assert "url(" not in static_file("report.css").decode()


def test_the_live_page_links_its_files() -> None:
    """Style sheet, icon, download and script come from the same server."""
    page = Page(render_live_html(full()))

    links = ["/static/report.css", "/static/icon.svg", "/static/report.js", "/api/v1/report.html"]
    assert page.links == links
    assert "style" not in page.tags


def test_the_page_shows_what_the_report_holds() -> None:
    """Verdict, figures, findings with marks, books, cohorts, and when it was drawn from which rules."""
    text = " ".join("".join(Page(render_html(full())).text).split())

    for part in (
        "shop-v2 is not ready",
        "Rules version 3",
        "Since 2025-12-29 09:20 UTC",
        "As of 2025-12-29 10:20 UTC",
        "/body/items/*/price",
        "Sends another value: 40 of 400 answers (10%), control 0 of 40 (0%)",
        "about 340 more mirrored requests to decide",
        "absent",
        "2 differences told apart as noise, 1 ignored by a rule",
        "1,210 eligible = 1,200 sent + 6 skipped (body too large 6) + 4 dropped (in flight 4)",
        "shop dark → shop-v1",
        "4.0 ms → 52 ms",
    ):
        assert part in text, part


def test_the_differing_part_is_marked() -> None:
    """A reader sees at once where 9.99 and 8.99 part."""
    text = render_html(full())

    assert "&#34;<mark>9</mark>.99&#34;" in text
    assert "&#34;<mark>8</mark>.99&#34;" in text


def test_a_file_offers_nothing_that_needs_a_server() -> None:
    """No filter, no button, no link to a sample; the command that asks again is there, as text."""
    report = full()
    report["endpoints"][0]["findings"][0]["samples"][0] |= {
        "id": "0123456789abcdef",
        "curl": "curl 'http://v1'",
    }
    page = Page(render_html(report))

    assert page.tags.isdisjoint({"form", "input", "button", "dialog", "script"})
    assert "curl 'http://v1'" in "".join(page.text)
    assert "/samples/0123456789abcdef" in render_live_html(report)


def test_a_query_narrows_the_live_page() -> None:
    """What was asked for is shown, counted and kept in the field; the verdict of the run stays."""
    page = Page(render_live_html(full(), search=read_search("orders <b>", "undecided")))
    text = " ".join("".join(page.text).split())

    assert "shop-v2 is not ready" in text
    assert "0 findings of 8, 0 endpoints of 5" in text
    assert page.fields["filter"] == "orders <b>"


@pytest.mark.parametrize(
    ("path", "kind", "actions"),
    [
        ("/body/total", "value", ["ignore /body/total"]),
        ("/headers/etag", "header", ["ignore /headers/etag"]),
        ("/body/tags", "order", ["unordered /body/tags", "ignore /body/tags"]),
        ("/body/tags/*", "value", ["ignore /body/tags/*", "unordered /body/tags"]),
        ("/body", "order", ["unordered /body"]),
        ("/body", "body", []),
        ("/status", "status", []),
        ("/body/\u202ex", "value", []),
        ("{other}", "value", []),
    ],
)
def test_rules_are_offered_where_they_can_be_written(path: str, kind: str, actions: list[str]) -> None:
    """Not for all there is, not for the status, not for what cannot be read."""
    row = endpoint("GET /", "regression", findings=[finding(path, kind, "regression")])

    page = Page(render_live_html(full() | {"endpoints": [row]}))

    assert page.actions == actions


def test_answer_times_are_drawn_and_told() -> None:
    """A picture for both sides and for the difference, each with its words, and a table beside them."""
    side = {"p50": 0.01, "p90": 0.02, "p99": 0.05, "intervals": {"p99": [0.04, None]}, "buckets": [[0.01, 1]]}
    delta = {"p50": 0.001, "p90": 0.002, "p99": -0.003, "slower": 0.6, "buckets": [[-0.001, 1], [0.002, 2]]}
    row = endpoint("GET /", latency={"primary": side, "shadow": side, "delta": delta, "tolerance": 0.1})

    text = render_html(full() | {"endpoints": [row]})

    assert text.count('<svg class="spread"') == 2
    assert "<desc" in text
    assert "Primary: p50 10 ms, p90 20 ms, p99 50 ms." in text
    assert "(at least 40 ms)" in text
    assert "The shadow took longer in 60% of the exchanges." in text


def test_pictures_speak() -> None:
    """What a bar shows, its label says."""
    text = render_html(full())

    assert 'aria-label="primary p50 4.0 ms, p99 12 ms; shadow p50 52 ms, p99 310 ms"' in text
    assert "answered 1,198, failed 2, skipped 6, dropped 4" in text


def test_a_huge_report_stays_a_page() -> None:
    """500 endpoints with 10 kB samples make no more than a few megabytes."""
    assert len(render_html(huge())) < 4_000_000


def test_the_page_can_always_be_encoded() -> None:
    """A lone surrogate in any place does not stop the page."""
    report = full()
    report["endpoints"][0]["endpoint"] = report["endpoints"][0]["service"] = "\ud800"
    report["endpoints"][0]["findings"][0] |= {"path": "/\ud800", "kind": "\ud800"}

    render_html(report).encode()


@pytest.mark.parametrize("name", STATIC)
def test_files_of_the_page_are_package_data(name: str) -> None:
    """They are found wherever the package is installed."""
    assert static_file(name) == (resources.files("understudy.report") / "static" / name).read_bytes()


def test_there_are_no_other_files() -> None:
    """No name leads out of the table."""
    with pytest.raises(KeyError):
        static_file("../page.py")


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=2000",
    "--dump-dom",
)
PROBE = "<script>document.title = 'PWNED'</script>"


def browsed(page: str, folder: Path) -> str:
    """The document that Chromium makes of *page*."""
    assert CHROMIUM is not None
    file = folder / "page.html"
    file.write_text(page)
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=250, check=True).stdout


@pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM: the page's safety was not tried in a browser")
def test_no_hostile_text_runs_in_a_browser(tmp_path: Path) -> None:
    """Neither with our policy nor without it does any of the fifty texts run; a planted script would."""
    page = render_html(hostile())
    policy_free = page.replace('http-equiv="Content-Security-Policy"', 'name="none"')
    assert policy_free != page

    for text in (page, policy_free):
        assert "<title>Regression · Understudy report</title>" in browsed(text, tmp_path)
    assert "<title>PWNED</title>" in browsed(policy_free.replace("</body>", PROBE + "</body>"), tmp_path)


@pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM: the page's policy was not tried in a browser")
def test_the_policy_stops_what_would_slip_through(tmp_path: Path) -> None:
    """Even a script that stood in the page as markup would not run, while the style sheet applies."""
    page = render_html(full()).replace("</body>", PROBE + "</body>")

    assert "<title>Regression · Understudy report</title>" in browsed(page, tmp_path)
