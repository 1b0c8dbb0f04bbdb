"""The kill buttons of the live page, in a real browser."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from admin_browser import Browser, Stage, Theatre, browsing, needs_chromium
from admin_fakes import DOCUMENT, REPORT, LockedStore, stored
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

pytestmark = needs_chromium

FLAGS = ("shop", "checkout", "a.very-long-name-of-a-flag_that-does-not-fit-on-a-phone-at-all")
OPEN = "document.getElementById('switch').open"
READY = "!document.getElementById('switch-throw').disabled"


@dataclass
class Switched(Stage):
    """A stage whose report tells of kill switches, and of a kill file of its host."""

    def __post_init__(self) -> None:
        document = DOCUMENT | {"flags": {key: {"state": "ENABLED"} for key in FLAGS}}
        self.versions = [stored(7, document)]

    async def kill(self, flag: str, *, author: str, reason: str, origin: str = "") -> Any:
        change = await super().kill(flag, author=author, reason=reason, origin=origin)
        self.versions[-1] = stored(change.rules.version, self.versions[0].document, author, reason)
        return change

    async def report(self) -> dict[str, Any]:
        told = await super().report()
        variants = [
            {"variant": "canary", "share": 0.05, "serve": "v2", "mirror": []},
            {"variant": "stable", "share": 0.95, "serve": "v1", "mirror": ["v2"]},
        ]
        return told | {
            "switches": [
                {"flag": key, "state": "ENABLED", "safe_variant": "stable", "variants": variants}
                for key in FLAGS
            ],
            "killed": [
                *(
                    {
                        "flag": key,
                        "by": "rules",
                        "who": "ann",
                        "at": 1.8e9,
                        "reason": self.versions[-1].reason,
                    }
                    for key in self.killed
                ),
                {"flag": "checkout", "by": "kill_file", "files": ["/etc/understudy/killed"]},
            ],
        }


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for all tests here."""
    with browsing(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture
def control() -> Switched:
    """Nothing is killed but by the kill file."""
    return Switched(evidence=REPORT)


@pytest.fixture
def page(browser: Browser, control: Switched) -> Iterator[Browser]:
    """The live page; afterwards nothing unforeseen may stand in the console."""
    theatre = Theatre(control)
    try:
        browser.open(theatre.url)
        browser.until("document.documentElement.classList.contains('scripted')")
        yield browser
        assert [
            line for line in browser.console() if " the server responded with a status of " not in line
        ] == []
        browser.driver.get("about:blank")
    finally:
        theatre.close()


def button(flag: str) -> str:
    """The button of *flag*, as an expression."""
    return f"document.querySelector('[data-switch][data-flag={flag}]')"


def place(page: Browser) -> Any:
    """Where each row of the flags is on the page."""
    return page.ask("[...document.querySelectorAll('.switch')].map((row) => row.getBoundingClientRect().top)")


def aim(page: Browser, flag: str) -> None:
    """Click on the button of *flag*, and wait until the switch can be thrown."""
    page.driver.find_element(By.CSS_SELECTOR, f"[data-switch][data-flag={flag}]").click()
    page.until(f"{OPEN} && {READY}")


def test_two_clicks_kill_and_two_revive(page: Browser, control: Switched) -> None:
    """The page says who did it and why, and no row has moved."""
    before = place(page)
    aim(page, "shop")
    assert page.text("#switch-text") == (
        "shop gives everyone stable, everywhere and at once, whatever its rules say."
    )
    assert control.killed == []
    page.driver.find_element(By.ID, "switch-throw").click()
    page.until(f"{button('shop')}.dataset.switch === 'revive'")

    assert control.killed == ["shop"]
    assert page.text(".switch.on .deed").startswith("Killed everywhere by ann, 2027-01-15 08:00 UTC.")
    page.until(lambda: page.text("#done p"), "what was done")
    assert page.text("#done p") == "shop is killed in rules version 8; 1 of 2 workers here have it. "
    assert place(page) == before

    aim(page, "shop")
    page.driver.find_element(By.ID, "switch-throw").click()
    page.until(f"{button('shop')}.dataset.switch === 'kill'")
    assert control.killed == []
    assert place(page) == before


def test_a_flag_is_killed_by_keyboard_alone(page: Browser, control: Switched) -> None:
    """Enter, a reason that ends with Enter; the focus is back at the button, and Enter, Enter revives."""
    page.ask(f"{button('shop')}.focus()")
    page.press(Keys.ENTER)
    page.until(f"{OPEN} && {READY}")
    page.until("document.activeElement.id === 'switch-throw'")
    back = webdriver.ActionChains(page.driver).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT)
    back.perform()
    page.until("document.activeElement.id === 'switch-reason'")
    page.press("orders are lost", Keys.ENTER)
    page.until(f"!{OPEN} && {button('shop')}.dataset.switch === 'revive'")

    assert (control.killed, control.versions[-1].reason) == (["shop"], "orders are lost")
    assert "orders are lost" in page.text(".switch.on .deed")
    assert page.ask(f"document.activeElement === {button('shop')}")

    page.press(Keys.ENTER)
    page.until(f"{OPEN} && document.activeElement.id === 'switch-throw'")
    page.press(Keys.ENTER)
    page.until(f"{button('shop')}.dataset.switch === 'kill'")
    assert control.killed == []


def test_the_second_half_of_a_double_click_kills_nothing(page: Browser, control: Switched) -> None:
    """The switch cannot be thrown in the moment in which it appears; Escape leaves all as it is."""
    both = f"({button('shop')}.click(), document.getElementById('switch-throw').click(), {OPEN})"
    assert page.ask(both)
    page.press(Keys.ESCAPE)
    page.until(f"!{OPEN}")
    assert control.killed == []


def test_a_kill_that_fails_says_so_and_can_be_tried_again(page: Browser, control: Switched) -> None:
    """With the reason why, in the same dialog."""
    aim(page, "shop")
    control.failure = LockedStore()
    page.press(Keys.ENTER)
    page.until("!document.getElementById('switch-trouble').hidden")
    assert "the file is locked" in page.text("#switch-trouble")
    control.failure = None
    page.until("document.activeElement.id === 'switch-throw'")
    page.press(Keys.ENTER)
    page.until(f"{button('shop')}.dataset.switch === 'revive'")


def test_what_this_host_kills_is_told_as_such(page: Browser) -> None:
    """Its kill file is named, and the button kills everywhere else too."""
    assert "Killed on this host alone by its kill file, /etc/understudy/killed." in page.text(
        ".switch.on .deed"
    )
    assert page.ask(f"{button('checkout')}.textContent") == "Kill everywhere…"


@pytest.mark.parametrize("is_dark", [False, True])
def test_the_flags_fit_on_a_phone(page: Browser, *, is_dark: bool) -> None:
    """At 360 pixels nothing is wider than the screen, and every button is big enough for a thumb."""
    page.resize(360, 740, is_dark=is_dark)
    assert page.ask("document.documentElement.scrollWidth") == 360
    heights = page.ask("[...document.querySelectorAll('.switch button')].map((one) => one.offsetHeight)")
    assert len(heights) == len(FLAGS)
    assert min(heights) >= 32
    aim(page, "shop")
    assert page.ask("document.getElementById('switch').getBoundingClientRect().right <= 360")
    page.resize(1200, 900)
