"""One change of one part of a rules document: what every write of the admin API comes down to. Pure."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from understudy.admin.merge_patch import merge
from understudy.admin.references import Document, namers, part
from understudy.admin.refusal import Refusal

Section = str
FLAGS: Final = "flags"
SEGMENTS: Final = "$evaluators"
NOUNS: Final[Mapping[Section, str]] = {FLAGS: "flag", SEGMENTS: "segment"}
_MOST_KNOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What is done to a document. ``action`` (``flag.put``) and ``target`` (``shop``) are for the audit,
    ``words`` for the history when nobody gave a reason.

    ``apply`` makes the next document of the present one and raises Refusal when that cannot be. ``part``
    is the part that is written; ``replaces`` says that what stands there is lost, so that the caller has to
    say what he has seen; ``gone`` has the parts that nothing may name any more.
    """

    action: str
    target: str
    words: str
    apply: Callable[[Document], Document]
    part: tuple[Section, str] | None = None
    replaces: bool = False
    gone: frozenset[tuple[Section, str]] = frozenset()

    def exists(self, document: Document) -> bool:
        """Whether *document* has the part that is written."""
        return self.part is None or self.part[1] in part(document, self.part[0])


def perform(edits: Sequence[Edit], document: Document) -> Document:
    """*document* after all *edits*. Raises: Refusal; 409 when something names what is gone."""
    done = document
    for edit in edits:
        done = edit.apply(done)
    left = {
        (section, name) for edit in edits for section, name in edit.gone if name not in part(done, section)
    }
    if left:
        _check_gone(document, done, left)
    return done


def _check_gone(before: Document, after: Document, gone: Collection[tuple[Section, str]]) -> None:
    flags = frozenset(name for section, name in gone if section == FLAGS)
    segments = frozenset(name for section, name in gone if section == SEGMENTS)
    places = namers(before, after, flags=flags, segments=segments)
    if places:
        what = " and ".join(f"{NOUNS[section]} {name!r}" for section, name in sorted(gone)[:_MOST_KNOWN])
        hint = "change that first, or in one POST /api/v1/bulk"
        errors = [{"path": place, "message": "names what would be gone", "hint": hint} for place in places]
        detail = f"{what}: still named by {', '.join(places[:_MOST_KNOWN])}; nothing was changed"
        raise Refusal(409, detail, errors=errors)


def with_part(document: Document, section: Section, name: str, value: Any) -> Document:
    """*document* with *value* as *name* of *section*, in its place when it is there already."""
    return {**document, section: {**part(document, section), name: value}}


def without_part(document: Document, section: Section, name: str) -> Document:
    """*document* without *name* of *section*, which is there."""
    kept = {key: value for key, value in part(document, section).items() if key != name}
    return {**document, section: kept}


def merged(before: Any, patch: Any) -> Any:
    """*before* with what *patch* (RFC 7396) names changed. Raises: Refusal 422."""
    if not isinstance(patch, Mapping):
        raise mistake("", "a merge patch is an object with what shall change")
    return merge(before, patch)


def existing(document: Document, section: Section, name: str) -> Any:
    """*name* of *section*. Raises: Refusal 404."""
    found = part(document, section)
    if name not in found:
        raise missing(section, name, found)
    return found[name]


def missing(section: Section, name: str, known: Collection[str]) -> Refusal:
    """There is no *name* in *section*; ``known`` has all that there are, or those that are spelled alike."""
    near = list(known)
    if len(near) > _MOST_KNOWN:
        near = get_close_matches(name[:100], near, n=_MOST_KNOWN, cutoff=0.6)
    shown = name if len(name) <= 100 else f"{name[:100]}…"
    return Refusal(404, f"there is no {NOUNS[section]} {shown!r}", known=near)


def mistake(path: str, message: str, hint: str = "", *, status: int = 422) -> Refusal:
    """One thing is wrong, at *path*."""
    errors = [{"path": path, "message": message, "hint": hint}]
    told = f"{path}: {message}" if path else message
    return Refusal(status, f"{told}{f' ({hint})' if hint else ''}; nothing was changed", errors=errors)
