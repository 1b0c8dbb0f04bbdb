"""Read the textual bodies that are lists of something: JSON lines, server-sent events, forms."""

import re
from typing import Final
from urllib.parse import parse_qsl

from understudy.comparators.json_tree import ABSENT, load

MOST_FIELDS: Final = 10_000
EVENT_END: Final = re.compile(r"\r\n|\n|\r")
BRACKETS: Final = ("{", "[")
MOST_BROKEN: Final = 1000
"""Lines or events that are no JSON after which none is taken for it: finding out takes ten times as long."""

SEPARATOR: Final = "\x1e"  # RFC 7464: application/json-seq


class Raw(str):
    """A line that is no JSON: never equal to a text that JSON holds."""

    __slots__ = ()


def read_lines(text: str) -> list[object]:
    """The JSON values of NDJSON or JSON text sequences; a line that is none stands as it is."""
    values: list[object] = []
    broken = 0
    for line in text.replace(SEPARATOR, "").split("\n"):
        line = line.strip()
        if line:
            value = load(line) if broken < MOST_BROKEN else ABSENT
            broken += value is ABSENT
            values.append(Raw(line) if value is ABSENT else value)
    return values


def read_json_lines(text: str) -> list[object] | None:
    """Like `read_lines`, when there are several lines, all of them JSON: httpbin sends these as JSON."""
    values: list[object] = []
    for line in text.split("\n"):
        line = line.strip()
        if line:
            value = load(line)
            if value is ABSENT:
                return None
            values.append(value)
    return values if len(values) > 1 else None


def read_events(text: str) -> list[dict[str, object]]:
    """The events of a text/event-stream (WHATWG HTML 9.2.6); ``data`` that is JSON becomes its tree.

    An event that the end of the body cuts counts too: the other side may have it whole.
    """
    events: list[dict[str, object]] = []
    broken = 0
    fields: dict[str, list[str]] = {}
    for line in EVENT_END.split(text):
        if line:
            name, _, value = line.partition(":")
            if name:
                fields.setdefault(name, []).append(value.removeprefix(" "))
        elif fields:
            events.append(_event(fields, is_read=broken < MOST_BROKEN))
            broken += _is_broken(events[-1])
            fields = {}
    if fields:
        events.append(_event(fields, is_read=broken < MOST_BROKEN))
    return events


def _is_broken(event: dict[str, object]) -> bool:
    data = event.get("data", "")
    return isinstance(data, str) and data.startswith(BRACKETS)


def _event(fields: dict[str, list[str]], *, is_read: bool) -> dict[str, object]:
    event: dict[str, object] = {name: values[-1] for name, values in fields.items()}
    if "data" in fields:
        data = "\n".join(fields["data"])
        tree = load(data) if is_read and data.startswith(BRACKETS) else ABSENT
        event["data"] = data if tree is ABSENT else tree
    return event


def read_form(text: str) -> dict[str, object] | None:
    """The fields of a form: a text, or a list of texts where a name repeats. None when it is no form."""
    try:
        # Bytes that are no UTF-8 stay apart from one another.
        pairs = parse_qsl(
            text.strip(), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="surrogateescape"
        )
    except ValueError:
        return None
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}
