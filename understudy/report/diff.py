"""A sample as lines of a diff, for formats that have no colours of their own."""

from difflib import SequenceMatcher

from understudy.report.marks import Side, mark
from understudy.report.view import Sample
from understudy.report.visible import value_text

_MOST_LINES = 40  # of one sample: about a screen
_MOST_MATCHED = 200  # SequenceMatcher is quadratic at worst
_LINE_CHARACTERS = 1000
_ABSENT = "(absent)"


def diff_lines(sample: Sample) -> tuple[str, ...]:
    """The two sides as a unified diff: ``- `` the primary, ``+ `` the shadow, ``  `` both.

    Each line is printable; long equal stretches are left out, and so is what lies beyond about a screen.
    """
    left, right = mark(
        value_text(sample.primary, pretty=True), value_text(sample.shadow, pretty=True), context=60, most=600
    )
    before = [_ABSENT] if sample.primary_absent else _lines(left)
    after = [_ABSENT] if sample.shadow_absent else _lines(right)
    lines = _diff(before, after)
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], f"  … {len(lines) - _MOST_LINES:,} more lines …"]
    return tuple(
        line if len(line) <= _LINE_CHARACTERS else line[: _LINE_CHARACTERS - 1] + "…" for line in lines
    )


def _lines(side: Side) -> list[str]:
    text = "".join(f" {span.text} " if span.kind == "gap" else span.text for span in side)
    return text.split("\n")


def _diff(before: list[str], after: list[str]) -> list[str]:
    if len(before) > _MOST_MATCHED or len(after) > _MOST_MATCHED:
        # What is cut to a screen anyway is cut on both sides alike, so that the shadow is seen too.
        half = _MOST_LINES // 2
        return [*_first(before, half, "- "), *_first(after, half, "+ ")]
    lines: list[str] = []
    for tag, a0, a1, b0, b1 in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            lines += [f"  {line}" for line in before[a0:a1]]
        else:
            lines += [f"- {line}" for line in before[a0:a1]]
            lines += [f"+ {line}" for line in after[b0:b1]]
    return lines


def _first(lines: list[str], most: int, sign: str) -> list[str]:
    shown = [f"{sign}{line}" for line in lines[:most]]
    beyond = len(lines) - most
    return [*shown, f"{sign}… {beyond:,} more lines …"] if beyond > 0 else shown
