"""The report in a terminal."""

import io
import shlex
from typing import Any

import pytest
from report_examples import clean, empty, full, hostile, huge, latency, markup, undecided
from rich.cells import cell_len
from rich.console import Console

from understudy.report import render_text


def printed(report: dict[str, Any], *, width: int = 80, is_terminal: bool = False) -> str:
    """What a console of *width* columns would show."""
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=is_terminal,
        color_system="standard" if is_terminal else None,
    )
    render_text(report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


REPORTS = {
    "full": full,
    "empty": empty,
    "clean": clean,
    "undecided": undecided,
    "huge": huge,
    "hostile": hostile,
    "markup": markup,
}


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("width", [80, 60, 132])
def test_no_line_is_wider_than_the_console(name: str, width: int) -> None:
    """Long paths, wide characters and tables fold; nothing runs over but a command, which stays whole."""
    report = REPORTS[name]()
    for sample in (s for e in report["endpoints"] for f in e["findings"] for s in f.get("samples", ())):
        sample["curl"] = ""
    lines = printed(report, width=width).splitlines()

    assert [line for line in lines if cell_len(line) > width] == []


@pytest.mark.parametrize("name", REPORTS)
def test_only_our_own_escape_sequences_reach_the_terminal(name: str) -> None:
    """Without colours there is not one control character but the line end, whatever the samples hold."""
    text = printed(REPORTS[name]()).replace("\n", "")

    assert text.isprintable()


def test_hostile_samples_are_still_readable() -> None:
    """Their escape sequences are spelled out."""
    assert "\\x1b]0;PWNED\\x07" in printed(hostile(), width=200)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("full", "REGRESSION   shop-v2 is not ready"),
        ("clean", "CLEAN   shop-v2 answers like the primary"),
        ("undecided", "UNDECIDED   Too early to say whether shop-v2 is ready"),
        ("empty", "UNDECIDED   Nothing compared yet"),
    ],
)
def test_the_verdict_comes_first(name: str, first: str) -> None:
    """Who reads one line has read the most important one."""
    assert printed(REPORTS[name]()).splitlines()[0].strip() == first


def test_the_full_report_holds_everything() -> None:
    """Books, endpoints, findings with rates and a sample side by side, noise apart."""
    text = printed(full(), width=110)

    for part in (
        "1,210 eligible = 1,200 sent + 6 skipped (body too large 6) + 4 dropped (in flight 4)",
        "1,200 sent = 1,198 answered + 2 failed (timeout 2)",
        "shop dark: 1,210 requests answered by shop-v1",
        "12→15 ms",
        "4 regressions, 1 undecided",
        "1. GET /orders/{id} /body/items/*/price  value regression",
        "sends another value: 40 of 400 answers (10%), control 0 of 40 (0%)",
        'primary  "9.99"',
        'shadow   "8.99"',
        "shadow   (absent)",
        "GET /search?q=shoes",
        "about 340 more mirrored requests to decide",
        "Quiet: 2 noise, 1 ignored by a rule",
        "GET /orders/{id} /body/served_at  value  100%, control 40 of 40 (100%)",
    ):
        assert part in text, part


def test_noise_is_quiet() -> None:
    """Noise stands after all findings, dimmed, one line each."""
    text = printed(full(), is_terminal=True)

    assert text.index("Quiet:") > text.index("5. ")
    assert (
        "\x1b[2m  GET /orders/{id} /body/served_at" in text
        or "\x1b[2mGET /orders/{id} /body/served_at" in text
    )


def test_a_huge_report_stays_readable() -> None:
    """What lies beyond a few screens is counted."""
    text = printed(huge())

    assert len(text.splitlines()) < 1000
    assert "… and 460 more endpoints" in text
    assert "… and 50 more" in text
    assert "… and 380 more" in text


def test_markup_in_samples_is_text() -> None:
    """Square brackets are not styles."""
    report = full()
    report["endpoints"][0]["findings"][0]["samples"] = [
        {"primary": "[bold red]x[/]", "shadow": "[link=//e]y"}
    ]

    text = printed(report, is_terminal=False)

    assert "[bold red]x[/]" in text
    assert "[link=//e]y" in text


def test_latency_stands_with_its_intervals() -> None:
    """How much longer the shadow took, exchange by exchange, the slower endpoints first."""
    report = full()
    report["endpoints"][0]["latency"] = latency("clean")
    report["endpoints"][3]["latency"] = latency()
    lines = [" ".join(line.split()) for line in printed(report, width=100).splitlines()]
    start = lines.index("Shadow minus primary, in pairs p50 (95% interval) p99 (95% interval) Slower in")

    assert lines[start + 1 : start + 3] == [
        "GET /reports/daily +48 ms (+46 to +50 ms) +300 ms (-10 to +390 ms) 98%",
        "GET /orders/{id} +48 ms (+46 to +50 ms) +300 ms (-10 to +390 ms) 98%",
    ]


def test_a_sample_can_be_repeated_and_looked_up() -> None:
    """By the command that asks again, and by the id of the whole answers."""
    report = full()
    report["endpoints"][0]["findings"][0]["samples"][0] |= {"id": "00ff", "curl": "curl -sS 'http://h/x?a=1'"}
    text = printed(report, width=110)

    assert "repeat   curl -sS 'http://h/x?a=1'" in text
    assert "sample   00ff" in text


def test_a_command_can_be_pasted_as_it_is_printed() -> None:
    """A blank behind a backslash, or a word broken in two, would make another command of it."""
    command = f"curl -sSig -H 'Accept: */*' 'http://127.0.0.1:9001/{'a' * 90}' 'http://127.0.0.1:9002/'"
    report = full()
    report["endpoints"][0]["findings"][0]["samples"][0]["curl"] = command
    lines = printed(report, width=60, is_terminal=False).splitlines()
    first = next(number for number, line in enumerate(lines) if "repeat   " in line)
    last = next(number for number in range(first, len(lines)) if not lines[number].endswith("\\"))
    pasted = "\n".join(lines[first : last + 1]).partition("repeat")[2].replace(" \\\n", " ")

    assert last > first
    assert shlex.split(pasted) == shlex.split(command)


def test_a_command_that_cannot_be_copied_is_not_shown() -> None:
    """With a line end spelled out it would ask for something else."""
    report = full()
    report["endpoints"][0]["findings"][0]["samples"][0] |= {"curl": "curl --data-raw 'a\nb' http://h/"}

    assert "repeat" not in printed(report, width=110)


def test_a_note_stands_below_the_endpoints() -> None:
    """It is about one of them, and says which."""
    report = full()
    report["endpoints"][1]["notes"] = ["few requests came"]

    assert "! GET /search: few requests came" in printed(report)
