"""The report in a terminal."""

import io
from typing import Any

import pytest
from report_examples import clean, empty, full, hostile, huge, undecided
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
}


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("width", [80, 60, 132])
def test_no_line_is_wider_than_the_console(name: str, width: int) -> None:
    """Long paths, wide characters and tables fold; nothing runs over."""
    lines = printed(REPORTS[name](), width=width).splitlines()

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
