"""Rules written from the live page, and samples looked into, in a real browser."""

from collections.abc import Iterator
from typing import Any

import pytest
from admin_browser import Browser, Stage, Theatre, browsing, needs_chromium
from admin_fakes import DOCUMENT, REPORT, LockedStore, stored
from selenium.webdriver.common.keys import Keys

from understudy.store import Sample

pytestmark = needs_chromium

NAME = "0123456789abcdef"
SCRIPT = "</pre><script>document.title='PWNED'</script><img src=x onerror=document.title='PWNED'>"
PATHS = "[...document.querySelectorAll('.finding > summary .path')].map((item) => item.textContent)"


def finding(path: str, kind: str = "value") -> dict[str, Any]:
    """A regression with one sample that can be looked into."""
    sample = {
        "id": NAME,
        "primary": "9.99",
        "shadow": "8.99",
        "curl": "curl -sS 'http://127.0.0.1:9002/orders/17'",
    }
    return {"path": path, "kind": kind, "verdict": "regression", "differing": 4, "samples": [sample]}


def report() -> dict[str, Any]:
    """Two findings at one endpoint."""
    found = [finding("/body/total"), finding("/body/tags", "order")]
    row = {
        "endpoint": "GET /orders/{id}",
        "service": "v2",
        "exchanges": 9,
        "verdict": "regression",
        "findings": found,
    }
    return REPORT | {"verdict": "regression", "endpoints": [row]}


def sample() -> Sample:
    """Two answers, one of them hostile."""
    primary = {
        "status": 200,
        "headers": [["ETag", '"1"'], ["X-Odd", SCRIPT]],
        "body": {"total": 9007199254740993},
    }
    shadow = {"status": 500, "headers": [["ETag", '"2"']], "body": {"total": 9007199254740992, "new": SCRIPT}}
    return Sample(
        service="v2",
        endpoint="GET /orders/{id}",
        path="/body/total",
        kind="value",
        priority=0.5,
        at=1_800_000_000.0,
        name=NAME,
        body={
            "id": NAME,
            "at": "/body/total",
            "request": "GET /orders/17",
            "flag": "shop",
            "seen": 1_800_000_000,
        },
        whole={"primary": primary, "shadow": shadow},
    )


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for all tests here."""
    with browsing(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture
def control() -> Stage:
    """What the page shows and changes."""
    return Stage(evidence=report(), samples={NAME: sample()})


@pytest.fixture
def page(browser: Browser, control: Stage) -> Iterator[Browser]:
    """The live page; afterwards nothing unforeseen may stand in the console."""
    theatre = Theatre(control)
    try:
        browser.open(theatre.url)
        browser.until("document.documentElement.classList.contains('scripted')")
        yield browser
        told = [line for line in browser.console() if " the server responded with a status of " not in line]
        assert told == []
        assert browser.ask("document.title") != "PWNED"
        browser.driver.get("about:blank")
    finally:
        theatre.close()


def focused(page: Browser) -> str:
    """What is written on the control that has the focus."""
    return str(page.ask("document.activeElement.textContent.trim()"))


def tab_to(page: Browser, label: str) -> None:
    """Press Tab until the control with *label* has the focus."""
    for _ in range(60):
        if focused(page) == label:
            return
        page.press(Keys.TAB)
    pytest.fail(f"Tab never came to {label}")


def test_a_path_is_ignored_by_keyboard_alone(page: Browser, control: Stage) -> None:
    """Tab, Enter, see the rule, Enter: the rule is stored, and the finding goes; Undo takes it back."""
    tab_to(page, "Ignore this path…")
    page.press(Keys.ENTER)
    page.until("document.getElementById('rule').open")

    assert page.text("#rule-yaml") == "compare:\n- endpoint: GET /orders/{id}\n  ignore:\n  - /body/total\n"
    assert focused(page) == "Write this rule"
    assert control.versions[-1].version == 7

    page.press(Keys.ENTER)
    page.until(f"{PATHS}.join() === '/body/tags' && !document.getElementById('rule').open")
    assert control.versions[-1].document["compare"] == [
        {"endpoint": "GET /orders/{id}", "ignore": ["/body/total"]}
    ]
    assert control.versions[-1].reason == "ignore /body/total at GET /orders/{id}"
    assert page.text("#done p") == "ignore /body/total is written, in rules version 8. "
    assert "1 ignored by a rule" in page.text("#quiet summary")

    tab_to(page, "Undo")
    page.press(Keys.SPACE)
    page.until("document.getElementById('rule').open")
    assert page.text("#rule-text") == "The rule of GET /orders/{id} goes. /body/total counts again."
    page.press(Keys.ENTER)
    page.until(f"{PATHS}.length === 2")
    assert control.versions[-1].document["compare"] == []


def test_an_ignored_path_counts_again(page: Browser, control: Stage) -> None:
    """What was ignored long ago is found among what merely wobbles, and its rule goes from there."""
    rule = {"endpoint": "GET /orders/{id}", "ignore": ["/body/total", "/body/at"]}
    control.versions.append(stored(8, DOCUMENT | {"compare": [rule]}))
    page.until(f"{PATHS}.length === 1")
    page.ask("document.getElementById('quiet').open = true")

    page.ask("document.querySelector('button[data-undo]').click()")
    page.until("document.getElementById('rule').open")
    assert page.text("#rule-text") == "/body/total goes from this rule and counts again:"
    page.press(Keys.ENTER)

    page.until(f"{PATHS}.length === 2")
    assert control.versions[-1].document["compare"] == [rule | {"ignore": ["/body/at"]}]


def test_escape_writes_nothing(page: Browser, control: Stage) -> None:
    """The dialog closes, and the focus is where it was."""
    tab_to(page, "Ignore this path…")
    page.press(Keys.ENTER)
    page.until("document.getElementById('rule').open")

    page.press(Keys.ESCAPE)

    page.until("!document.getElementById('rule').open")
    assert focused(page) == "Ignore this path…"
    assert len(control.versions) == 1


def test_order_is_given_up_for_a_list(page: Browser, control: Stage) -> None:
    """Where only the order differs, the rule that says so comes first."""
    tab_to(page, "Order means nothing…")
    page.press(Keys.ENTER)
    page.until("document.getElementById('rule').open")
    page.press(Keys.ENTER)
    page.until("!document.getElementById('rule').open")

    assert control.versions[-1].document["compare"] == [
        {"endpoint": "GET /orders/{id}", "unordered": ["/body/tags"]}
    ]


def test_a_lost_race_is_told_and_run_again(page: Browser, control: Stage) -> None:
    """Somebody else's rule is not overwritten: the reader sees it beside his own, and may go on."""
    tab_to(page, "Ignore this path…")
    page.press(Keys.ENTER)
    page.until("document.getElementById('rule').open")
    theirs = {"endpoint": "GET /orders/{id}", "ignore": ["/body/at"]}
    control.versions.append(stored(8, DOCUMENT | {"compare": [theirs]}))

    page.press(Keys.ENTER)
    page.until("!document.getElementById('rule-trouble').hidden")
    assert "Somebody else changed the rules meanwhile" in page.text("#rule-trouble")
    assert "- /body/at\n  - /body/total" in page.text("#rule-yaml")
    assert control.versions[-1].version == 8

    page.press(Keys.ENTER)
    page.until("!document.getElementById('rule').open")
    assert control.versions[-1].document["compare"] == [theirs | {"ignore": ["/body/at", "/body/total"]}]


def test_a_store_that_is_away_is_told(page: Browser, control: Stage) -> None:
    """The dialog says why nothing can be written, and offers only to close."""
    control.failure = LockedStore()
    page.ask("document.querySelector('[data-action]').click()")
    page.until("document.getElementById('rule').open")

    assert "locked by another process" in page.text("#rule-trouble")
    assert page.ask("document.getElementById('rule-write').hidden")
    assert focused(page) == "Close"
    control.failure = None


def test_whole_answers_are_fetched_on_opening(page: Browser) -> None:
    """Side by side with what differs marked; every digit is there, and hostile text is text."""
    page.ask("document.querySelector('details.whole').open = true")
    page.until("document.querySelector('details.whole .changes')")

    whole = "details.whole"
    assert "/body/newextraabsent" in page.text(f"{whole} .changes")
    assert page.text(f"{whole} .primary mark") == "200"
    assert page.ask("[...document.querySelectorAll('details.whole pre')].map((item) => item.textContent)")[
        0
    ] == ('{\n  "total": 9007199254740993\n}')
    assert '"total": 9007199254740992,' in page.text(f"{whole} .side.shadow pre")
    assert SCRIPT in page.text(f"{whole} .side.shadow pre").replace('\\"', '"')
    assert page.ask("document.querySelectorAll('main script, main img').length") == 0


def test_whole_answers_stay_open_over_a_refresh(page: Browser, control: Stage) -> None:
    """What was fetched is the reader's own; the refresh goes around it."""
    page.ask("document.querySelector('details.whole').open = true")
    page.until("document.querySelector('details.whole .changes')")

    control.show(control.evidence | {"exchanges": 77})
    page.until("document.querySelector('.figures dd').textContent === '77'")

    assert page.ask("document.querySelector('details.whole').open")
    assert page.ask("document.querySelector('details.whole .changes') !== null")


def test_a_sample_that_is_gone_is_told(page: Browser, control: Stage) -> None:
    """Forgotten between the report and the click."""
    control.samples.clear()

    page.ask("document.querySelector('details.whole').open = true")

    page.until("document.querySelector('details.whole [data-own]').textContent.includes('not kept any more')")


def test_a_sample_is_a_page_of_its_own(page: Browser) -> None:
    """Without a script the summary leads there; it needs none."""
    page.driver.get(f"{page.url}samples/{NAME}")

    assert page.text("h1") == "/body/total"
    assert page.text(".request code") == "GET /orders/17"
    assert "500" in page.text(".changes .shadow")


def test_the_command_is_copied(page: Browser) -> None:
    """On loopback the clipboard is at hand; elsewhere the text is selected for the reader."""
    origin = {
        "origin": page.url.rstrip("/"),
        "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"],
    }
    page.driver.execute_cdp_cmd("Browser.grantPermissions", origin)
    page.ask("document.querySelector('.again').open = true")

    page.driver.find_element("css selector", "[data-copy]").click()

    page.until("document.querySelector('[data-copy]').textContent !== 'Copy'")
    told = page.text("[data-copy]")
    selected = page.ask("document.getSelection().toString()")
    assert told == "Copied" or selected == "curl -sS 'http://127.0.0.1:9002/orders/17'"
