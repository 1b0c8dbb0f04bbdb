"""Where in a document a reader stands, and the list in which it leaves what is wrong there."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher, get_close_matches

from understudy.decide.spelling import alike
from understudy.errors import Problem

MOST_PROBLEMS = 100
"""A document with more mistakes than this is of the wrong kind; a longer list helps nobody."""

_PLAIN_KEY = re.compile(r"[$A-Za-z0-9._-]{1,64}\Z")


class Refused(Exception):
    """One value is not what its place asks for; ``hint`` says what was probably meant."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Place:
    """A dotted path (``routes[0].unit``; empty for the whole document) with the problems found so far."""

    path: str = ""
    problems: list[Problem] = field(default_factory=list)

    def key(self, key: str) -> "Place":
        """The place of *key* inside this one. A key outside the token grammar is quoted."""
        if not _PLAIN_KEY.match(key):
            return Place(f"{self.path}[{shown(key)}]", self.problems)
        return Place(f"{self.path}.{key}" if self.path else key, self.problems)

    def item(self, index: int) -> "Place":
        """The place of the *index*-th entry of this list."""
        return Place(f"{self.path}[{index}]", self.problems)

    @property
    def is_full(self) -> bool:
        """Whether no more problems are taken, so that nothing more need be looked for."""
        return len(self.problems) >= MOST_PROBLEMS

    def refuse(self, message: str, hint: str = "") -> None:
        """Note one mistake at this place, once."""
        problem = Problem(path=self.path, message=message, hint=hint)
        if not self.is_full and problem not in self.problems:
            self.problems.append(problem)

    def mapping(self, value: object, hint: str = "") -> Mapping[str, object]:
        """*value* if it is a mapping; else a problem, with *hint*, and an empty one."""
        if isinstance(value, Mapping):
            return value
        self.refuse(f"must be a mapping of keys to values, not {shown(value)}", hint)
        return {}

    def items(self, value: object) -> list[tuple["Place", object]]:
        """The entries of the list *value* with their places; a problem if it is no list."""
        if isinstance(value, list | tuple):
            return [(self.item(index), entry) for index, entry in enumerate(value)]
        is_entry = isinstance(value, str | int | float) and not isinstance(value, bool)
        self.refuse(f"must be a list, not {shown(value)}", f"did you mean [{value}]?" if is_entry else "")
        return []

    def known_keys(self, value: Mapping[str, object], known: Iterable[str]) -> None:
        """A problem for every key of *value* that is not in *known*."""
        names = tuple(known)
        for key in value:
            if key not in names:
                self.key(str(key)).refuse("unknown key", suggestion(str(key), names))


def shown(value: object) -> str:
    """*value* as JSON, shortened to what fits a line; what JSON cannot write, as its type."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    try:
        text = json.dumps(value, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError):
        return f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:56] + ' …"'


def suggestion(word: str, known: Iterable[str]) -> str:
    """What was probably meant by *word*, else what there is, else nothing."""
    names = sorted(set(known))
    near = get_close_matches(word.lower(), [name.lower() for name in alike(word, names)], n=3, cutoff=0.6)
    likeness = [SequenceMatcher(None, name, word.lower()).ratio() for name in near]
    best = [name for name, ratio in zip(near, likeness, strict=True) if ratio == max(likeness)]
    if best:
        return f"did you mean {' or '.join(name for name in names if name.lower() in best)}?"
    if not names:
        return ""
    more = ", …" if len(names) > 12 else ""
    return ("known: " if len(names) > 1 else "there is only ") + ", ".join(names[:12]) + more
