"""The sentences of a report: what a manager reads first, and the books of the mirroring."""

from understudy.report.latency import Interval, Quantile
from understudy.report.numbers import UNKNOWN, count, duration, percent, plural, signed
from understudy.report.view import Endpoint, Finding, Flow, View
from understudy.report.visible import clip

_MOST_NOTES = 10
_NOTE_CHARACTERS = 500
_NAME_CHARACTERS = 60


def badge(verdict: str) -> str:
    """One or two words for a verdict."""
    return {
        "regression": "Regression",
        "undecided": "Undecided",
        "noise": "Noise",
        "ignored": "Ignored",
        "clean": "Clean",
    }.get(verdict, "")


def headline(view: View) -> str:
    """The verdict of the run in plain words."""
    who = subject(view)
    if view.verdict == "regression":
        return f"{who} {_be(view)} not ready"
    if not view.exchanges:
        return "Nothing compared yet"
    if view.verdict == "undecided":
        return f"Too early to say whether {who} {_be(view)} ready"
    return f"{who} {'answer' if _many(view) else 'answers'} like the primary"


def one_line(view: View) -> str:
    """The verdict, what it means and what it rests on, in one line."""
    return f"{badge(view.verdict)}: {headline(view)}. {summary(view)}"


def summary(view: View) -> str:
    """One or two sentences below the headline: how much, where, and what is still needed."""
    if not view.exchanges and view.verdict != "regression":
        if view.mirror.eligible:
            copies, answers = books(view.mirror)
            return f"No mirrored request has been answered so far: {answers if view.mirror.sent else copies}."
        return (
            "No mirrored request has been answered so far. "
            "Send requests through the proxy, and see that a variant names a service to mirror to."
        )
    if view.verdict == "regression":
        return _regression(view)
    if view.verdict == "undecided":
        return f"{_undecided(view)}{_but_slower(view)}"
    return f"{_compared(view)}, without a difference of its own.{_noise(view)}{_but_slower(view)}"


def notes(view: View) -> tuple[str, ...]:
    """What a reader must know to trust the verdict, the report's own notes included."""
    found = list(view.notes)
    if view.exchanges and not view.with_control and not found:
        found.append("No control answers yet: what differs by itself cannot be told from a regression.")
    if view.mirror.unaccounted:
        found.append(
            f"The books do not balance: {plural(view.mirror.unaccounted, 'copy', 'copies')} unaccounted for."
        )
    return tuple(clip(note, _NOTE_CHARACTERS) for note in found[:_MOST_NOTES])


def endpoint_notes(endpoint: Endpoint) -> tuple[str, ...]:
    """What a reader must know to trust the verdict of *endpoint*."""
    return tuple(clip(note, _NOTE_CHARACTERS) for note in endpoint.notes[:_MOST_NOTES])


def subject(view: View) -> str:
    """The shadow service or services, by name."""
    names = [clip(name, _NAME_CHARACTERS) for name in view.services]
    if not names:
        return "The shadow"
    if len(names) > 3:
        return f"{names[0]}, {names[1]} and {len(names) - 2} more"
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" and {names[-1]}"


def evidence(finding: Finding) -> str:
    """How often the shadow differs, and how often the control does."""
    of_how_many = f"{count(finding.differing)} of {plural(finding.exchanges, 'answer')}"
    share = f"{of_how_many} ({percent(finding.rate)}{_within(finding.interval)})"
    units = f" to {plural(finding.units, 'unit')}" if finding.units else ""
    return f"{share}{units}, {control(finding)}"


def _within(interval: Interval | None) -> str:
    """``; 95% interval 7.2% to 13%``. The level is that of the report's rate intervals."""
    if interval is None:
        return ""
    return f"; 95% interval {percent(interval.low)} to {percent(interval.high)}"


def slowness(endpoint: Endpoint) -> str:
    """How much longer the shadow took, exchange by exchange; empty when nobody measured it."""
    latency = endpoint.latency
    if not latency.delta.is_known:
        return ""
    parts = [
        f"{name} {longer(quantile)}" for name, quantile in latency.delta.named if quantile.value is not None
    ]
    share = "" if latency.slower is None else f"; the shadow took longer in {percent(latency.slower)}"
    more = ""
    if latency.verdict == "undecided" and latency.needed:
        more = f"; about {plural(latency.needed, 'more answer')} to say whether it is slower"
    return ", ".join(parts) + share + more


def latency_ruling(endpoint: Endpoint) -> str:
    """Whether the shadow is slower, in a word or two; empty when nobody judged."""
    latency = endpoint.latency
    if latency.verdict == "undecided" and latency.needed:
        return f"about {plural(latency.needed, 'more answer')} to decide"
    return {"regression": "slower", "clean": "not slower", "undecided": "undecided"}.get(latency.verdict, "")


def longer(quantile: Quantile) -> str:
    """``+3.0 ms (+2.1 to +3.9 ms)``, ``+28 ms (≥ +24 ms)``: how much longer, and within what bounds."""
    value = signed(quantile.value)
    if quantile.interval is not None:
        low, high = signed(quantile.interval.low), signed(quantile.interval.high)
        number, _, unit = low.partition(" ")
        return f"{value} ({number if high.endswith(f' {unit}') else low} to {high})"
    if quantile.at_least is not None:
        return f"{value} (≥ {signed(quantile.at_least)})"
    return value if quantile.at_most is None else f"{value} (≤ {signed(quantile.at_most)})"


def times(primary: float | None, shadow: float | None) -> str:
    """``12→15 ms``: how long the primary and the shadow took."""
    if primary is None and shadow is None:
        return UNKNOWN
    left, right = duration(primary), duration(shadow)
    number, _, unit = left.partition(" ")
    is_alike = unit and unit == right.partition(" ")[2]
    return f"{number if is_alike else left}→{right}"


def ruling(endpoint: Endpoint) -> str:
    """The verdict of an endpoint in a word or two, its latency included."""
    word = badge(endpoint.verdict).lower()
    if endpoint.latency_verdict != "regression":
        return word
    return "slower" if endpoint.verdict == "clean" else f"{word}, slower"


def control(finding: Finding) -> str:
    """How often the control differs at the same path."""
    if finding.with_control == 0:
        return "no control answers"
    if finding.with_control is None:
        rate = "" if finding.control_rate is None else f" ({percent(finding.control_rate)})"
        return f"control {count(finding.control_differing)}{rate}"
    of_how_many = f"{count(finding.control_differing)} of {count(finding.with_control)}"
    return f"control {of_how_many} ({percent(finding.control_rate)})"


def more_needed(finding: Finding) -> str:
    """What an undecided finding waits for; empty when it waits for nothing."""
    if finding.verdict != "undecided" or not finding.needed:
        return ""
    return f"about {plural(finding.needed, 'more mirrored request')} to decide"


def books(flow: Flow) -> tuple[str, str]:
    """The conservation law of the mirroring, with its numbers."""
    copies = f"{count(flow.eligible)} eligible = {count(flow.sent)} sent"
    for word, total, reasons in (
        ("skipped", flow.skipped_count, flow.skipped),
        ("dropped", flow.dropped_count, flow.dropped),
    ):
        copies += f" + {count(total)} {word}{why(reasons)}"
    answers = f"{count(flow.sent)} sent = {count(flow.answered)} answered"
    answers += f" + {count(flow.failed_count)} failed{why(flow.failed)}"
    if flow.in_flight:
        answers += f" + {count(flow.in_flight)} in flight"
    return copies, answers


def why(reasons: tuple[tuple[str, int], ...]) -> str:
    """`` (timeout 2, connect 1)``; empty without named reasons."""
    named = [
        f"{clip(reason, _NAME_CHARACTERS).replace('_', ' ')} {count(number)}"
        for reason, number in reasons
        if reason
    ]
    return f" ({', '.join(named)})" if named else ""


def _regression(view: View) -> str:
    found = view.having("regression")
    places = len({(finding.service, finding.endpoint) for finding in found})
    it, differs, be = ("they", "differ", "are") if _many(view) else ("it", "differs", "is")
    parts = []
    if found:
        own = "their own" if _many(view) else "its own"
        parts.append(
            f"{differs} from the primary in {plural(len(found), 'way')} of {own}, "
            f"at {count(places)} of {plural(len(view.endpoints), 'endpoint')}"
        )
    if view.slower:
        parts.append(f"{be} slower at {plural(len(view.slower), 'endpoint')}")
    if not parts:
        parts.append(f"{differs} from the primary")
    return f"{_compared(view)}; {it} {', and '.join(parts)}."


def _undecided(view: View) -> str:
    waiting = len(view.having("undecided"))
    need = (
        f"About {plural(view.needed, 'more mirrored request')} will tell."
        if view.needed
        else "More traffic will tell."
    )
    if waiting:
        return f"{_compared(view)}; {plural(waiting, 'difference')} may or may not be noise. {need}"
    if not view.needed and view.mirror.failed_count:
        lost = f"{plural(view.mirror.failed_count, 'copy', 'copies')} got no answer"
        return f"{_compared(view)}, but {lost}: what those would have shown, nobody knows."
    return f"{_compared(view)}, too few to rule out a rare difference. {need}"


def _noise(view: View) -> str:
    quiet = len(view.having("noise"))
    if not quiet:
        return ""
    return f" {plural(quiet, 'difference')} {_is(quiet)} noise: the primary differs from itself there too."


def _but_slower(view: View) -> str:
    """A verdict on answers says nothing of time; who reads one line shall not take it for more."""
    if not view.slower:
        return ""
    who = "They are" if _many(view) else "It is"
    return f" {who} slower at {plural(len(view.slower), 'endpoint')}."


def _compared(view: View) -> str:
    return f"{plural(view.exchanges, 'mirrored request')} compared"


def _many(view: View) -> bool:
    return len(view.services) > 1


def _be(view: View) -> str:
    return "are" if _many(view) else "is"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"
