"""The report as Markdown, read back by a CommonMark parser."""

from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt
from report_examples import (
    HOSTILE,
    MARKUP,
    clean,
    empty,
    endpoint,
    finding,
    full,
    hostile,
    huge,
    latency,
    markup,
    undecided,
)

from understudy.report import render_markdown

OURS = {
    "h2",
    "h3",
    "p",
    "strong",
    "em",
    "blockquote",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "code",
    "pre",
}
OURS |= {"details", "summary", "b", "ul", "li"}
REPORTS = {
    "full": full,
    "empty": empty,
    "clean": clean,
    "undecided": undecided,
    "huge": huge,
    "hostile": hostile,
    "markup": markup,
}


class Page(HTMLParser):
    """What a reader of the rendered Markdown gets: the tags, and the text outside of code."""

    def __init__(self, markdown: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.prose = ""
        self.code: list[str] = []
        self.feed(
            MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown)
        )

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.open.append(tag)
        if tag == "code":
            self.code.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "code" in self.open:
            self.code[-1] += data
        else:
            self.prose += data


@pytest.mark.parametrize("name", REPORTS)
def test_services_add_no_markup(name: str) -> None:
    """Whatever was answered, the page has our own elements only, each closed where we close it."""
    page = Page(render_markdown(REPORTS[name]()))

    assert page.tags <= OURS
    assert page.attributes <= {"class", "style", "open"}
    assert page.open == []


@pytest.mark.parametrize("text", [*HOSTILE, *MARKUP])
def test_each_hostile_text_stays_in_its_place(text: str) -> None:
    """One at a time, so that no text is saved by the one before."""
    report = hostile((text, "shop-v2"))
    markdown = render_markdown(report)
    page = Page(markdown)

    assert page.tags <= OURS
    assert page.attributes <= {"class", "style", "open"}
    assert page.open == []
    assert "Quiet: 2 noise" in page.prose
    assert page.prose.count("mirrored requests compared") == 1


@pytest.mark.parametrize(
    "bait",
    ["@everyone", "@octocat", "repo#1", "https://evil", "www.evil", "somebody@evil", "!1", "$1", "~bug"],
)
def test_outside_of_code_nothing_refers_to_anything(bait: str) -> None:
    """Mentions, references and links are made of text outside of code: there is none to be made of."""
    prose = Page(render_markdown(hostile(MARKUP))).prose

    assert bait not in prose


def test_every_character_can_be_seen() -> None:
    """No control character, no direction mark, no lone surrogate; only our joiner has no width."""
    markdown = render_markdown(hostile(MARKUP)) + render_markdown(hostile())

    assert markdown.replace("\n", "").isprintable()
    markdown.encode()


def test_what_was_answered_can_be_read() -> None:
    """In code every character stands as it came."""
    text = "a`b``c|d\\e @everyone <b> &amp; *x*"
    row = finding(text, "value", "regression", samples=[{"primary": text, "shadow": "x", "request": text}])
    page = Page(render_markdown(full() | {"endpoints": [endpoint(text, "regression", findings=[row])]}))

    assert page.code.count(text) == 4  # the table, the endpoint and the path of the finding, the request
    assert f'- "{text}"\n+ "x"\n' in page.code


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("most", [65_000, 8_000, 2_500])
def test_a_comment_is_never_too_long(name: str, most: int) -> None:
    """GitHub refuses a comment over 65,536 characters as a whole; what is left out is counted."""
    markdown = render_markdown(REPORTS[name](), most=most)

    assert len(markdown) <= most
    assert Page(markdown).open == []
    if name == "huge":
        assert "left out to stay below the limit; the JSON report has all." in markdown


def test_a_character_outside_the_basic_plane_counts_twice() -> None:
    """As JavaScript counts, which may be who refuses."""
    row = finding("/body", "value", "regression", samples=[{"primary": "\U0001f600" * 500, "shadow": ""}])
    rows = [endpoint(f"GET /{number}", "regression", findings=[row]) for number in range(30)]
    markdown = render_markdown(full() | {"endpoints": rows}, most=20_000)

    assert len(markdown.encode("utf-16-le")) // 2 <= 20_000
    assert "left out" in markdown


def test_the_full_report_holds_everything() -> None:
    """Verdict, endpoints, findings with rates in words and a sample as a diff; noise folded away."""
    report = full()
    report["endpoints"][0]["findings"][0] |= {"interval": [0.072, 0.136]}
    report["endpoints"][0]["findings"][0]["samples"][0]["curl"] = "curl -sS http://127.0.0.1/orders/1"
    report["endpoints"][3]["latency"] = latency()
    text = render_markdown(report)

    for part in (
        "## \N{CROSS MARK} Understudy: shop-v2 is not ready",
        "**Regression.** 1,200 mirrored requests compared; it differs from the primary in 4 ways of its own",
        "| `GET /orders/{id}` | 400 | 77.5% | 12→15 ms | 80→140 ms | regression |",
        "| `GET /reports/daily` | 50 | 100% | 4.0→52 ms | 12→310 ms | slower |",
        (
            "| `GET /reports/daily` | +48 ms (+46 to +50 ms) | +92 ms (+80 to +110 ms) "
            "| +300 ms (-10 to +390 ms) | 98% | slower |"
        ),
        (
            "<summary><b>Regression</b> <code>GET /orders/&#123;id&#125;</code> "
            "<code>/body/items/&#42;/price</code> (<code>value</code>)</summary>"
        ),
        (
            "The shadow sends another value: 40 of 400 answers (10%; 95% interval 7.2% to 13.6%), "
            "control 0 of 40 (0%)."
        ),
        '```diff\n- "9.99"\n+ "8.99"\n```',
        "```sh\ncurl -sS http://127.0.0.1/orders/1\n```",
        '```diff\n- "EUR"\n+ (absent)\n```',
        "about 340 more mirrored requests to decide.",
        "Quiet: 2 noise, 1 ignored by a rule",
    ):
        assert part in text, part


def test_several_services_are_named() -> None:
    """With one service the name stands in the headline; with two, in every row."""
    rows = [endpoint("GET /", service="v2"), endpoint("GET /", service="v3")]
    text = render_markdown(full() | {"verdict": "clean", "endpoints": rows})

    assert "v2 and v3 answer like the primary" in text
    assert "| `GET /` | `v3` | 400 |" in text


def test_a_note_is_a_quotation() -> None:
    """Its markup is none."""
    report: dict[str, Any] = full() | {"notes": ["*2* copies of @everyone were lost"]}

    assert "> &#42;2&#42; copies of &#64;&#8288;everyone were lost" in render_markdown(report)


def test_a_note_on_an_endpoint_names_it() -> None:
    """Below the table."""
    report = full()
    report["endpoints"][1]["notes"] = ["few requests came"]

    assert "> `GET /search`: few requests came" in render_markdown(report)
