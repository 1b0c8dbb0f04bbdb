"""One whole answer as people are shown it: cut to a bounded size first, redacted after."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import orjson

from understudy.comparators.content import (
    EVENTS,
    FORM,
    JSON,
    LINES,
    MULTIPART,
    ContentType,
    beginning,
    content_type,
    text_of,
)
from understudy.comparators.difference import LARGEST_INTEGER, printable
from understudy.comparators.elements import Element
from understudy.comparators.formats import READERS
from understudy.comparators.json_tree import ABSENT
from understudy.comparators.text import read_json_lines
from understudy.messages import Answer
from understudy.shadow.redaction import Redaction

MOST_BYTES: Final = 16 * 1024
"""Of one side, as JSON: a few screens; 2,000 samples of the usual kilobyte fit the store's bound."""

LAID_OUT: Final = frozenset({JSON, LINES, EVENTS, FORM, MULTIPART})
"""Shown as trees; pages are easier read as they came."""

MOST_ITEMS: Final = 50
LONGEST_TEXT: Final = 8 * 1024
LONGEST_NAME: Final = 500
DEEPEST: Final = 32
MOST_FIELDS: Final = 100
MOST_PLACES: Final = 20
LONGEST_FIELD: Final = 1000


def shown_answer(answer: Answer, hide: Redaction, places: Sequence[str] = ()) -> dict[str, object]:
    """*answer* as ``{"status", "headers": [[name, value], …], "body"}``: at most `MOST_BYTES` of JSON or so.

    What stands at *places* (JSON Pointers as ``/body/items/7``) is shown before anything else. Lists, texts
    and objects that were cut say so in a word. Never raises, on any content.
    """
    return {
        "status": answer.status,
        "headers": [_field(name, value, hide) for name, value in answer.headers[:MOST_FIELDS]],
        "body": shown_body(answer, hide, [tokens_of(place) for place in places[:MOST_PLACES]]),
    }


def _field(name: bytes, value: bytes, hide: Redaction) -> list[object]:
    label = printable(name.decode("latin-1"))
    text = printable(value.decode("latin-1"))
    if len(text) > LONGEST_FIELD:
        text = text[:LONGEST_FIELD] + "…"
    return [label, hide.value(f"/headers/{label}", text)]


def tokens_of(place: str) -> list[str]:
    """The reference tokens of a JSON Pointer (RFC 6901) into a body, from the body on; empty for another."""
    _, _, rest = place.partition("/body/")
    return [token.replace("~1", "/").replace("~0", "~") for token in rest.split("/")] if rest else []


def shown_body(answer: Answer, hide: Redaction, wanted: Sequence[list[str]] = ()) -> object:
    """The body of *answer*: a JSON value, or text; what is neither is only described. None when empty."""
    if not answer.body:
        return None
    kept = beginning(answer)
    if kept is None:
        return _described(answer.body, answer.length_bytes, hide)
    found = read_body(kept, content_type(answer.header(b"content-type")), is_cut=answer.is_truncated)
    if found is ABSENT:
        return _described(kept, answer.length_bytes, hide)
    return redacted("/body", found, hide, wanted)


def redacted(path: str, value: object, hide: Redaction, wanted: Sequence[list[str]] = ()) -> object:
    """*value*, which stands at *path*, cut and redacted until it is at most `MOST_BYTES` long."""
    room = MOST_BYTES
    for _ in range(4):
        shown = hide.value(path, cut(value, [room], wanted))
        if _json_bytes(shown) <= MOST_BYTES:
            return shown
        room //= 2
    return "[too long to be shown]"


def read_body(body: bytes, kind: ContentType, *, is_cut: bool = False) -> object:
    """What *body* says: a tree, or text, as which pages are shown; `ABSENT` when it is neither.

    JSON that *is_cut* is text: its missing end would be found after 50 ms, for a mebibyte.
    """
    reading = JSON if body[:1] in b"{[" and kind.reading != LINES else kind.reading
    is_tree = reading in LAID_OUT and not (is_cut and reading == JSON)
    tree = READERS[reading](body, kind) if is_tree else ABSENT
    if tree is not ABSENT:
        return tree
    text = None if kind.reading == MULTIPART else text_of(body, kind.charset)
    if text is None or "\0" in text:
        return ABSENT
    lines = read_json_lines(text) if kind.reading == JSON and not is_cut else None
    return text if lines is None else lines


def _described(body: bytes, length: int, hide: Redaction) -> str:
    # Keyed, else a short secret could be found by trying.
    return f"[{length} bytes that are no text, hash {hide.digest(body.hex())}]"


def cut(value: object, room: list[int], wanted: Sequence[list[str]] = (), depth: int = 0) -> object:
    """A JSON-able copy of *value* of about ``room[0]`` bytes, which are taken from it; cuts say so.

    What the token lists *wanted* lead to gets room before what stands beside it.
    """
    if isinstance(value, Element):  # a page in a part of a form
        value = {"text": value.text, **value.fields()}
    if isinstance(value, str):
        return _cut_text(value, room)
    if isinstance(value, Mapping):
        return _cut_object(value, room, wanted, depth)
    if isinstance(value, list | tuple):
        return _cut_list(value, room, wanted, depth)
    room[0] -= 8
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and -LARGEST_INTEGER <= value < LARGEST_INTEGER:
        return value
    return _cut_text(str(value), room)


def _cut_text(value: str, room: list[int]) -> str:
    most = max(0, min(LONGEST_TEXT, room[0]))
    text = printable(value[:most])
    room[0] -= len(text.encode("utf-8", "replace")) + 2
    return text if len(value) <= most else text + "…"


def _below(wanted: Sequence[list[str]]) -> dict[str, list[list[str]]]:
    """What is wanted below each name."""
    below: dict[str, list[list[str]]] = {}
    for name, *rest in filter(None, wanted):
        below.setdefault(name, []).append(rest)
    return below


def _cut_share(
    value: object, room: list[int], wanted: Sequence[list[str]], depth: int, sharers: int
) -> object:
    """Cut *value* to its share of the room, so that the others who share it have theirs."""
    share = max(0, room[0]) // sharers
    left = [share]
    short = cut(value, left, wanted, depth + 1)
    room[0] -= share - left[0] + 8
    return short


def _cut_object(
    value: Mapping[object, object], room: list[int], wanted: Sequence[list[str]], depth: int
) -> object:
    if depth >= DEEPEST:
        return f"{{… {len(value)} fields}}"
    below = _below(wanted)
    shown: dict[object, object] = {}
    first = [name for name in below if name in value]
    for number, name in enumerate(first):
        shown[name] = _cut_share(value[name], room, below[name], depth, len(first) - number + 1)
    for key, item in value.items():
        if room[0] <= 0:
            break
        if key not in shown:
            room[0] -= min(len(str(key)), LONGEST_NAME) + 4
            shown[key] = cut(item, room, (), depth + 1)
    short = {printable(str(key)[:LONGEST_NAME]): shown[key] for key in value if key in shown}
    if len(shown) < len(value):
        short["…"] = f"{len(value) - len(shown)} more fields"
    return short


def _cut_list(value: Sequence[object], room: list[int], wanted: Sequence[list[str]], depth: int) -> object:
    if depth >= DEEPEST:
        return f"[… {len(value)} items]"
    below = {int(name): rest for name, rest in _below(wanted).items() if name.isascii() and name.isdigit()}
    shown: dict[int, object] = {}
    first = [at for at in below if at < len(value)]
    for number, at in enumerate(first):
        shown[at] = _cut_share(value[at], room, below[at], depth, len(first) - number + 1)
    for at in range(min(MOST_ITEMS, len(value))):
        if room[0] <= 0:
            break
        if at not in shown:
            shown[at] = cut(value[at], room, (), depth + 1)
    return list(_with_gaps(shown, len(value)))


def _with_gaps(shown: Mapping[int, object], length: int) -> Iterator[object]:
    """The items *shown* in their order, and how many are left out between them."""
    end = 0
    for at in sorted(shown):
        if at > end:
            yield f"… {at - end} more items"
        yield shown[at]
        end = at + 1
    if end < length:
        yield f"… {length - end} more items"


def _json_bytes(value: object) -> int:
    try:
        return len(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))
    except (TypeError, ValueError, RecursionError):
        return MOST_BYTES + 1
