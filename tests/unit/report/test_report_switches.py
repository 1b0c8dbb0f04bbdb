"""The kill switches in a report: what is read, and how it is told."""

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_examples import HOSTILE, full, switch
from rich.console import Console
from test_report_page import Page

from understudy.report import render_html, render_live_html, render_text
from understudy.report.switches import kill_words, part_words, read_switches
from understudy.report.visible import visible

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def buttons(text: str) -> list[str]:
    """The kill buttons of a page: what they do, and to which flag."""
    found: list[str] = []

    class Buttons(Page):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            super().handle_starttag(tag, attrs)
            given = dict(attrs)
            if "data-switch" in given:
                found.append(f"{given['data-switch']} {given['data-flag']}")

    Buttons(text)
    return found


def test_every_switch_says_how_it_stands() -> None:
    """Killed everywhere and here, killed by nobody knows whom, and not killed."""
    shop, checkout, banner = read_switches(full())

    assert (shop.is_on, shop.safe, kill_words(shop)) == (False, "stable", "")
    assert [part_words(part) for part in shop.parts][:2] == [
        "canary 5% → shop-v1",
        "dark 20% → shop-v1 (mirrored to shop-v2)",
    ]
    assert part_words(checkout.parts[0]) == "new by rule → shop-v1"
    assert kill_words(checkout) == (
        "Killed everywhere by ann, 2025-12-29 09:53 UTC: orders are lost. "
        "Killed on this host alone by its kill file, /etc/understudy/killed."
    )
    assert kill_words(banner) == "Killed everywhere."


def test_what_is_killed_and_has_no_switch_gets_one() -> None:
    """A report of thousands of killed flags has switches of some of them alone."""
    (found,) = read_switches({"killed": [{"flag": "lost", "by": "rules", "reason": "kill lost"}]})
    assert (found.flag, found.state, kill_words(found)) == ("lost", "KILLED", "Killed everywhere.")


@given(JSON, JSON)
@settings(max_examples=50)
def test_no_report_is_too_odd_to_be_read(switches: Any, killed: Any) -> None:
    """Whatever stands there is read as far as it can be, and told."""
    for found in read_switches({"switches": switches, "killed": killed}):
        assert isinstance(kill_words(found), str)


def test_only_who_may_gets_buttons() -> None:
    """The live page of an operator has one for each flag; other pages, and files, have none."""
    assert buttons(render_live_html(full(), may_kill=True)) == [
        "kill shop",
        "revive checkout",
        "revive banner",
    ]
    assert buttons(render_live_html(full())) == []
    assert buttons(render_html(full())) == []


def test_what_is_killed_here_alone_can_be_killed_everywhere_but_not_revived() -> None:
    """The kill file is this host's; no click takes a line out of it."""
    here = full() | {"killed": [{"flag": "shop", "by": "kill_file", "files": ["/k"]}]}
    assert "kill shop" in buttons(render_live_html(here, may_kill=True))
    assert "revive shop" not in buttons(render_live_html(here, may_kill=True))


def test_many_flags_are_folded_and_say_how_many_are_killed() -> None:
    """The verdict is not pushed out of sight."""
    many = full() | {"switches": [switch(f"f{n}", "ENABLED", on=1.0) for n in range(20)]}
    many["killed"] = [{"flag": "f15", "by": "rules"}]
    assert "12 more flags, 1 killed" in "".join(Page(render_live_html(many)).text)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_only_ever_text(text: str) -> None:
    """In the page, in its buttons, and in a terminal."""
    hostile = full() | {
        "switches": [switch(text, "ENABLED", **{text: 1.0})],
        "killed": [{"flag": text, "by": "rules", "who": text, "at": 1.0, "reason": text}],
    }
    page = Page(render_live_html(hostile, may_kill=True))
    assert visible(text)[:60] in "".join(page.text)
    assert [name for name in page.attributes if name.startswith("on")] == []
    assert buttons(render_live_html(hostile, may_kill=True)) == [f"revive {text}"]


def test_the_terminal_names_what_is_killed() -> None:
    """Below the verdict, each on a line."""
    console = Console(file=io.StringIO(), width=200, color_system=None)
    render_text(full(), console)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert "! banner: Killed everywhere." in lines
    assert [line for line in lines if line.startswith("! checkout: Killed everywhere by ann")]
