"""The live page in a real browser, over a real socket, under its real policy."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from admin_browser import Browser, Stage, Theatre, browsing, needs_chromium
from admin_fakes import REPORT
from selenium.webdriver.common.keys import Keys

pytestmark = needs_chromium

SCRIPT = "</pre><script>document.title='PWNED'</script><img src=x onerror=document.title='PWNED'>"
RIGHT_TO_LEFT = "\u202eevil\u202c"
SIDE = {"p50": 0.01, "p90": 0.02, "p99": 0.05, "intervals": {}, "buckets": [[0.01, 5], [0.02, 3], [0.05, 1]]}
DELTA = {
    "p50": 0.001,
    "p90": 0.01,
    "p99": 0.02,
    "intervals": {},
    "buckets": [[-0.001, 3], [0.001, 5], [0.02, 1]],
}


def finding(path: str, verdict: str = "regression", **more: Any) -> dict[str, Any]:
    """One finding with a sample."""
    sample = {
        "primary": "9.99",
        "shadow": "8.99",
        "request": "GET /orders/17",
        "curl": "curl -sS 'http://x/'",
    }
    return {"path": path, "kind": "value", "verdict": verdict, "differing": 4, "samples": [sample], **more}


def row(endpoint: str, *findings: dict[str, Any], verdict: str = "regression") -> dict[str, Any]:
    """One endpoint."""
    return {
        "endpoint": endpoint,
        "service": "v2",
        "exchanges": 400,
        "matched": 390,
        "verdict": verdict,
        "findings": list(findings),
        "latency": {"primary": SIDE, "shadow": SIDE, "delta": DELTA | {"slower": 0.6}, "verdict": "clean"},
    }


def report(*rows: dict[str, Any], exchanges: int = 400, verdict: str = "regression") -> dict[str, Any]:
    """A report with *rows*."""
    return REPORT | {"verdict": verdict, "exchanges": exchanges, "endpoints": list(rows)}


TWO = (
    row("GET /orders/{id}", finding("/body/total"), finding("/body/price"), finding("/body/at", "noise")),
    row("GET /search", finding("/body/results", kind="length")),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for all tests here."""
    with browsing(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture
def control() -> Stage:
    """What the page shows."""
    return Stage(evidence=report(*TWO))


@pytest.fixture
def theatre(control: Stage) -> Iterator[Theatre]:
    """The admin server."""
    made = Theatre(control)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def page(browser: Browser, theatre: Theatre) -> Iterator[Browser]:
    """The live page, listening; afterwards nothing may stand in the console."""
    browser.open(theatre.url)
    browser.until("document.getElementById('live').textContent.startsWith('Live')")
    yield browser
    assert browser.console() == []
    assert browser.ask("document.title") != "PWNED"
    browser.driver.get("about:blank")


def test_a_change_arrives_and_is_announced(page: Browser, control: Stage) -> None:
    """New figures stand in the page a moment later; a new verdict is said to who cannot see it."""
    control.show(report(row("GET /", verdict="clean"), exchanges=4321, verdict="clean"))

    page.until("document.querySelector('.figures dd').textContent === '4,321'")

    assert page.ask("document.title") == "Clean · Understudy report"
    assert page.text("#announce") == page.text("h1")
    assert page.ask("document.getElementById('announce').getAttribute('role')") == "status"


def test_a_report_that_stays_is_not_fetched_again(page: Browser, control: Stage) -> None:
    """The revision in the first event is the page's own, so only a change is fetched."""
    page.until(lambda: control.asked == 2, "once for the page, once for the word")

    control.show(report(*TWO, exchanges=401))
    page.until("document.querySelector('.figures dd').textContent === '401'")

    assert control.asked == 4


def test_an_update_leaves_the_reader_where_he_was(page: Browser, control: Stage) -> None:
    """Focus, open and closed details, scroll position and selection outlive a refresh around them."""
    page.ask("(() => { window.scrollTo(0, 300); document.getElementById('quiet').open = true; })()")
    page.ask("(window.shut = document.querySelectorAll('.finding')[0]).open = false")
    page.ask("document.getSelection().selectAllChildren(document.querySelectorAll('.finding .path')[1])")
    page.ask("document.querySelectorAll('.finding > summary')[1].focus()")
    page.ask("window.kept = document.querySelectorAll('.finding')[1]")

    control.show(report(*TWO, row("GET /new", finding("/body/new")), exchanges=500))
    page.until("document.querySelector('.figures dd').textContent === '500'")

    assert page.ask("document.querySelectorAll('.finding').length") == 4
    assert page.ask("window.kept.isConnected && window.kept.contains(document.activeElement)")
    assert page.ask("[window.shut.open, document.getElementById('quiet').open]") == [False, True]
    assert page.ask("document.getSelection().toString()") == page.ask(
        "window.kept.querySelector('.path').textContent"
    )
    assert page.ask("window.scrollY") == 300


def test_a_finding_that_goes_takes_nobodys_focus_away(page: Browser, control: Stage) -> None:
    """Who stood on it stands at the verdict then, not at the top of a page without place."""
    page.ask("document.querySelector('.finding > summary').focus()")

    control.show(report(row("GET /", verdict="clean"), verdict="clean"))
    page.until("document.querySelectorAll('.finding').length === 0")

    assert page.ask("document.activeElement.id") == "verdict"


def test_a_lost_connection_is_told_and_mended(page: Browser, control: Stage, theatre: Theatre) -> None:
    """While the server is away the page says since when; when it is back the page goes on by itself."""
    theatre.close()
    page.until("document.getElementById('live').textContent.startsWith('Connection lost at')")
    assert "may be old" in page.text("#announce")

    control.show(report(*TWO, exchanges=777))
    theatre.open()

    page.until("document.querySelector('.figures dd').textContent === '777'")
    page.until("document.getElementById('live').textContent.startsWith('Live')")
    assert page.text("#announce") == "Connected again."
    refused = [
        line
        for line in page.console()
        if "ERR_CONNECTION_REFUSED" not in line and "ERR_INCOMPLETE" not in line
    ]
    assert refused == []


def test_pause_holds_the_page_still(page: Browser, control: Stage) -> None:
    """Until the reader goes on."""
    page.driver.find_element("css selector", "#live button").click()
    control.show(report(*TWO, exchanges=999))
    page.until(lambda: control.asked >= 2, "the word was asked for")

    assert page.text(".figures dd") == "400"
    page.driver.find_element("css selector", "#live button").click()
    page.until("document.querySelector('.figures dd').textContent === '999'")


def test_the_filter_narrows_what_is_shown(page: Browser) -> None:
    """/ goes to the filter; typing narrows the page and its address; a verdict narrows it further."""
    page.press("/")
    assert page.ask("document.activeElement.id") == "filter"
    page.press("orders TOTAL")
    page.until("location.search === '?q=orders+TOTAL'")
    page.until("document.querySelectorAll('.finding').length === 1")

    assert page.text(".finding .path") == "/body/total"
    assert page.text("#found") == "1 finding of 4, 1 endpoint of 2"
    assert page.ask("document.activeElement.id + document.activeElement.value") == "filterorders TOTAL"

    page.ask("document.getElementById('filter').select()")
    page.press(Keys.DELETE, Keys.TAB, "n")  # noise
    page.until("location.search === '?verdict=noise'")
    page.until("document.querySelectorAll('.finding').length === 0")
    assert page.text("#found") == "1 finding of 4, 1 endpoint of 2"


def test_hostile_answers_stay_text(page: Browser, control: Stage) -> None:
    """Neither at first nor after a refresh does anything that a service said become an element."""
    sample = {"primary": SCRIPT, "shadow": RIGHT_TO_LEFT, "curl": SCRIPT, "request": SCRIPT, "flag": SCRIPT}
    found = finding("/body/" + SCRIPT, kind=SCRIPT, samples=[sample])
    control.show(report(row("GET /" + SCRIPT, found), exchanges=1) | {"notes": [SCRIPT]})
    page.until("document.querySelector('.figures dd').textContent === '1'")

    assert page.ask("document.querySelectorAll('main script, main img').length") == 0
    assert SCRIPT in page.text(".primary pre")
    assert page.text(".shadow pre") == '"\\u202eevil\\u202c"'
    page.open(page.url)
    assert page.ask("document.querySelectorAll('main script, main img').length") == 0


def test_the_policy_is_in_force(page: Browser) -> None:
    """Text cannot become markup, and nothing inline runs, even if our own script tried."""
    page.ask("window.refused = (change) => { try { change(); return ''; } catch (e) { return e.name; } }")

    assert page.ask("refused(() => { document.body.innerHTML = '<b>x</b>'; })") == "TypeError"
    assert page.ask("refused(() => document.body.setAttribute('onclick', 'alert()'))") == "TypeError"
    assert page.ask("refused(() => trustedTypes.createPolicy('mine', {}))") == "TypeError"
    assert len(page.console()) >= 3


OVERFLOWING = """[...document.querySelectorAll('body *')].filter(
  (item) => item.getBoundingClientRect().right > innerWidth + 1 && !item.closest('svg, .unseen')
    && getComputedStyle(item).position !== 'absolute').map((item) => item.outerHTML.slice(0, 80))"""


def test_a_phone_needs_no_sideways_scrolling(page: Browser, control: Stage) -> None:
    """At 360 pixels everything lies within the screen, the longest path and open pictures too."""
    long = "/body/" + "very_long_name_without_a_space" * 8
    sample = {"primary": "x" * 900, "shadow": "y" * 900, "curl": "curl " + "z" * 900}
    control.show(report(row("GET /" + "a" * 300, finding(long, samples=[sample])), *TWO, exchanges=2))
    page.until("document.querySelector('.figures dd').textContent === '2'")
    page.ask("document.querySelectorAll('details').forEach((item) => { item.open = true; })")

    page.resize(360, 740)

    assert page.ask("innerWidth") == 360
    assert page.ask("document.documentElement.scrollWidth") == 360
    assert page.ask(OVERFLOWING) == []


CONTRAST = """(() => {
  const channel = (v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const behind = (item) => {
    const color = rgb(item ? getComputedStyle(item).backgroundColor : 'white');
    return color[3] > 250 ? color : behind(item.parentElement);
  };
  const poor = new Map();
  for (const item of document.querySelectorAll('body *')) {
    if (![...item.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    if (!item.checkVisibility() || item.matches('option, script, noscript, noscript *')) continue;
    const style = getComputedStyle(item);
    const [one, two] = [light(rgb(item.closest('svg') ? style.fill : style.color)), light(behind(item))];
    const ratio = (Math.max(one, two) + .05) / (Math.min(one, two) + .05);
    if (ratio < 4.5) poor.set(item.tagName + '.' + item.className, ratio.toFixed(2));
  }
  return [...poor.entries()].map(String);
})()"""


@pytest.mark.parametrize("is_dark", [False, True])
def test_every_text_can_be_read(page: Browser, is_dark: bool) -> None:
    """In light and in dark mode text stands out by 4.5 to 1 at least (WCAG 2.2, 1.4.3)."""
    page.resize(1200, 900, is_dark=is_dark)
    page.ask("document.querySelectorAll('details').forEach((item) => { item.open = true; })")

    background = page.ask("getComputedStyle(document.body).backgroundColor")

    assert background == ("rgb(20, 21, 24)" if is_dark else "rgb(250, 249, 247)")
    assert page.ask(CONTRAST) == []


def test_the_keyboard_reaches_everything(page: Browser) -> None:
    """Tab visits every control once, each with a visible focus, and comes out at the end: no trap."""
    expected = page.ask(
        "[...document.querySelectorAll('a[href], button, input, select, summary, [tabindex=\"0\"]')]"
        ".filter((item) => item.checkVisibility()).length"
    )
    page.ask("document.body.focus()")
    seen, unseen = [], []
    for _ in range(expected):
        page.press(Keys.TAB)
        seen.append(page.ask("document.activeElement.outerHTML.slice(0, 120)"))
        if page.ask("getComputedStyle(document.activeElement).outlineStyle") == "none":
            unseen.append(seen[-1])
    page.press(Keys.TAB)

    assert unseen == []
    assert page.ask("document.activeElement === document.body || document.activeElement.className === 'skip'")
    assert seen[0].startswith('<a class="skip"')


def test_pictures_have_words(page: Browser) -> None:
    """A picture of answer times has a title, a description with its figures, and the same as a table."""
    page.ask("document.querySelector('.timing').open = true")

    assert page.ask("document.querySelectorAll('.timing svg.spread').length") == 4
    assert (
        page.text(".timing svg.spread desc")
        == "Primary: p50 10 ms, p90 20 ms, p99 50 ms. Shadow: p50 10 ms, p90 20 ms, p99 50 ms."
    )
    assert "Difference" in page.text(".timing table")
    assert "The shadow took longer in 60% of the exchanges." in page.text(".timing > .quiet")


def test_a_page_without_script_is_whole(theatre: Theatre, tmp_path: Path, browser: Browser) -> None:
    """Where no script runs, the filter is a form and the page refreshes itself."""
    browser.open(theatre.url)
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.driver.get(theatre.url + "?q=search&verdict=regression")
        assert browser.driver.find_element("css selector", "noscript + p, #found").text == (
            "1 finding of 4, 1 endpoint of 2"
        )
        assert (
            browser.driver.find_elements("css selector", ".acts button:not([hidden])")[0].is_displayed()
            is False
        )
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
        browser.driver.get("about:blank")
