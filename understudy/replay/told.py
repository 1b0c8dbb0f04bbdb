"""What a reader of a replay's report must know beside the evidence: what was not asked, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from understudy.replay.recording import Recording

BLIND_SHARE: Final = 0.01
"""As `comparators.report` has it of the shadow: more failures than that may hide what it calls clean."""

LATE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How the replay went. ``ended``: interrupted or gave_up, empty when all was played."""

    total: int
    played: int
    round: int
    primary_failures: Mapping[str, int]
    withheld: int
    sends_credentials: bool
    ended: str
    silent: str
    late_seconds: float
    seconds: float


def told(report: dict[str, Any], recording: Recording, course: Course) -> dict[str, Any]:
    """*report* with what *course* and *recording* add: ``replay``, notes, a verdict that knows of them."""
    notes = [*_notes_on_recording(recording), *_notes_on_course(course)]
    blind = _blindness(course)
    if blind and report["verdict"] == "clean":
        summary = f"undecided: {blind}; {str(report['summary']).removeprefix('clean: ')}"
        report = {**report, "verdict": "undecided", "summary": summary}
    else:
        notes += _notes_on_more(report, course)
    return {
        **report,
        "notes": [*notes, *report["notes"]],
        "replay": {
            "file": recording.name,
            "entries": recording.entries,
            "requests": len(recording.requests),
            "played": course.played,
            "total": course.total,
            "skipped": dict(recording.skipped),
            "hosts": list(recording.replayed_hosts),
            "primary_failed": dict(course.primary_failures),
            "ended": course.ended,
            "seconds": round(course.seconds, 3),
        },
    }


def _blindness(course: Course) -> str:
    """Why a run without any difference would still not be clean; empty when it would."""
    failed = sum(course.primary_failures.values())
    if failed > BLIND_SHARE * course.played:
        return f"the primary gave no answer to {failed:,} of {_requests(course.played)}"
    if course.ended == "gave_up":
        return f"{course.silent} stopped answering"
    return "it was interrupted" if course.ended else ""


def _notes_on_recording(recording: Recording) -> list[str]:
    notes = []
    if recording.broken:
        notes.append(
            f"{recording.name} breaks off: {recording.broken}. "
            f"The entries before that, {recording.entries:,}, were used."
        )
    if recording.why_skipped:
        notes.append(
            f"{sum(recording.skipped.values()):,} of {recording.entries:,} entries are not replayed: "
            f"{recording.why_skipped}."
        )
    if recording.skipped.get("other_host"):
        others = [f"{h} ({n:,})" for h, n in recording.hosts.items() if h not in recording.replayed_hosts]
        more = f" and {len(others) - 5:,} more" if len(others) > 5 else ""
        notes.append(
            f"The requests to {', '.join(recording.replayed_hosts)} are replayed; --from HOST chooses "
            f"others: {', '.join(others[:5])}{more}."
        )
    return notes


def _notes_on_course(course: Course) -> list[str]:
    notes = []
    if course.withheld and not course.sends_credentials:
        notes.append(
            f"{_requests(course.withheld)} came with credentials, which are not sent on: "
            "--credentials sends them, --header 'Authorization: …' sets your own."
        )
    failed = sum(course.primary_failures.values())
    if failed:
        why = ", ".join(f"{reason} {n:,}" for reason, n in sorted(course.primary_failures.items()))
        notes.append(
            f"primary gave no answer to {failed:,} of {_requests(course.played)} ({why}): "
            "the candidate was not asked these."
        )
    if course.ended == "gave_up":
        notes.append(
            f"Given up after {course.played:,} of {_requests(course.total)}: "
            f"{course.silent} had stopped answering."
        )
    elif course.ended:
        notes.append(f"Interrupted after {course.played:,} of {_requests(course.total)}.")
    if course.late_seconds > LATE_SECONDS:
        notes.append(
            f"The replay fell {course.late_seconds:.1f} s behind its pace: a higher --concurrency keeps it."
        )
    return notes


def _notes_on_more(report: Mapping[str, Any], course: Course) -> list[str]:
    """How to get the requests that an undecided run lacks."""
    needed = report.get("needed")
    if report["verdict"] != "undecided" or not needed or not course.round or course.ended:
        return []
    mirror = report["mirror"]
    if _blindness(course) or sum(mirror["failed"].values()) > BLIND_SHARE * mirror["sent"]:
        return []  # what is missing is answers, and no repetition brings these
    rounds = ceil((course.total + needed) / course.round)
    return [f"About {needed:,} more requests are needed: --repeat {rounds} brings them."]


def _requests(number: int) -> str:
    return f"{number:,} request{'' if number == 1 else 's'}"
