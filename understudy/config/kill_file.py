"""The kill file: flags that one host kills by itself, with the control process and every store away.

A line is the key of a flag, or ``*`` for each flag that a route names; blank lines and those that begin with
``#`` say nothing. A flag is revived by taking its line out. What cannot be understood revives nobody.
"""

import os
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from understudy.config.rules import Rules
from understudy.errors import Problem

EVERY: Final = "*"

MOST_BYTES: Final = 1024 * 1024
"""10,000 flags with keys of a hundred letters; more is another file that was put there."""

MOST_PROBLEMS: Final = 3
"""Told in words; a file that is no text would fill the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kills:
    """``flags`` are killed, known or not; with ``is_every`` each flag that a route names, too."""

    flags: frozenset[str] = frozenset()
    is_every: bool = False

    def __bool__(self) -> bool:
        return bool(self.flags) or self.is_every

    def __or__(self, other: "Kills") -> "Kills":
        return Kills(flags=self.flags | other.flags, is_every=self.is_every or other.is_every)

    def among(self, rules: Rules) -> frozenset[str]:
        """The flags of *rules* that are killed by this."""
        routed = {route.flag for route in rules.routes if route.flag is not None} if self.is_every else set()
        return frozenset(key for key in self.flags | routed if key in rules.flags)

    def unknown(self, rules: Rules) -> list[str]:
        """What is no flag of *rules*: perhaps a slip, perhaps a flag of tomorrow."""
        return sorted(key for key in self.flags if key not in rules.flags)

    def laid_over(self, rules: Rules) -> Rules:
        """*rules* with these flags killed beside those that are; the very same when that changes nothing."""
        killed = self.among(rules).union(rules.killed)
        if len(killed) == len(rules.killed):
            return rules
        document = {**rules.document, "killed": sorted(killed)}
        return replace(rules, killed=tuple(sorted(killed)), document=document)

    def text(self) -> str:
        """What `read_kills` reads as this."""
        return "".join(f"{line}\n" for line in [*([EVERY] if self.is_every else []), *sorted(self.flags)])


def read_kills(content: bytes) -> tuple[Kills, list[Problem]]:
    """What a kill file says, and every line that says nothing we know. Never raises."""
    problems: list[Problem] = []
    if len(content) > MOST_BYTES:
        message = f"is longer than {MOST_BYTES:,} bytes; the rest is not read"
        problems.append(Problem(path="", message=message, hint="one flag in each line"))
    flags: set[str] = set()
    for number, line in enumerate(content[:MOST_BYTES].removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        try:
            key = line.decode("utf-8").strip()
        except UnicodeDecodeError:
            problems.append(Problem(path=f"line {number}", message="is not text in UTF-8"))
            continue
        if key.startswith("#"):
            continue
        if key and not is_line(key):
            problems.append(Problem(path=f"line {number}", message=f"{key[:40]!r} is no key of a flag"))
        elif key:
            flags.add(key)
    return Kills(flags=frozenset(flags - {EVERY}), is_every=EVERY in flags), problems


def is_line(key: str) -> bool:
    """Whether *key* can stand in a kill file and be read again."""
    return key.isprintable() and key == key.strip() and bool(key) and not key.startswith("#")


class KillFile:
    """What the files at *paths* kill together: usually one, absolute; none need exist.

    While one of them cannot be read or understood, ``trouble`` says why, and nothing is revived: what it says
    comes on top of what was killed before. *memory* is a file where the processes of one run keep that for
    those that start later. ``troubles`` counts how often trouble began; ``saying`` are the files that kill
    something, or should.
    """

    def __init__(self, paths: Iterable[Path], *, memory: Path | None = None) -> None:
        self.paths = tuple(paths)
        self.kills = Kills()
        self.trouble = ""
        self.troubles = 0
        self.saying: tuple[Path, ...] = ()
        self._memory = memory
        self._seen: tuple[bytes | str, ...] | None = None

    def look(self) -> bool:
        """Read the files; whether ``kills`` or ``trouble`` changed. Blocks its thread, never raises."""
        last = self._seen or ("",) * len(self.paths)
        seen = tuple(map(_content, self.paths, last))
        if seen == self._seen:
            return False
        is_first, self._seen = self._seen is None, seen
        before = (self.kills, self.trouble)
        found, troubles, saying = Kills(), list[str](), list[Path]()
        for path, content in zip(self.paths, seen, strict=True):
            kills, wrong = _understood(path, content)
            found |= kills
            troubles += wrong
            saying += [path] if kills or wrong else []
        self.saying = tuple(saying)
        if troubles:
            found |= self._remembered() if is_first else self.kills
        self.kills, self.trouble = found, "; ".join(troubles)
        self.troubles += bool(troubles) and not before[1]
        if is_first or self.kills != before[0]:
            self._remember()
        return (self.kills, self.trouble) != before

    def _remembered(self) -> Kills:
        content = _content(self._memory, b"") if self._memory is not None else b""
        return read_kills(content)[0] if isinstance(content, bytes) else Kills()

    def _remember(self) -> None:
        if self._memory is None:
            return
        try:
            replace_file(self._memory, self.kills.text())
        except OSError:
            pass  # a process that starts while the file cannot be read may then know less than this one


def _understood(path: Path, content: bytes | str) -> tuple[Kills, list[str]]:
    if isinstance(content, str):
        return Kills(), [f"{path}: {content}"]
    kills, problems = read_kills(content)
    told = [f"{path}: {problem}" for problem in problems[:MOST_PROBLEMS]]
    more = len(problems) - MOST_PROBLEMS
    return kills, [*told, *([f"{path}: {more} more lines like these"] if more > 0 else [])]


def _content(path: Path, last: bytes | str) -> bytes | str:
    """What the file at *path* holds, nothing when there is none; in words, why it cannot be read.

    If it held something when it was read *last*, a folder that went or a link that leads nowhere is not taken
    for a file that somebody removed.
    """
    try:
        # Opening a pipe waits for its other end, unless told not to.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        is_removed = not last or (path.parent.is_dir() and not path.is_symlink())
        return b"" if is_removed else "cannot be read: what holds it is gone"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return "is no file"
        return os.read(handle, MOST_BYTES + 1)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    finally:
        os.close(handle)


def add_lines(path: Path, lines: Collection[str]) -> None:
    """Append *lines*; what others append at the same moment stays. Raises OSError."""
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        size = os.fstat(handle).st_size
        is_open_line = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        text = ("\n" if is_open_line else "") + "".join(f"{line}\n" for line in lines)
        # In one piece, so that no reader sees half a key.
        os.write(handle, text.encode("utf-8"))
        os.fsync(handle)
    finally:
        os.close(handle)


def without_lines(content: bytes, keys: Collection[str]) -> str:
    """*content* without the lines that are one of *keys*; empty when no flag is left in it."""
    lines = [line for line in content.decode("utf-8", "replace").splitlines() if line.strip() not in keys]
    return "".join(f"{line}\n" for line in lines) if any(map(_says, lines)) else ""


def _says(line: str) -> bool:
    return bool(line.strip()) and not line.strip().startswith("#")


def replace_file(path: Path, text: str) -> None:
    """Put *text* at *path*, whole or not at all. Raises OSError."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def told(kills: Kills, rules: Rules, paths: Iterable[Path]) -> Iterator[str]:
    """In words, what *kills* does to *rules*, and where it is undone; nothing when it kills nothing."""
    if not kills:
        return
    where = " and ".join(map(str, paths))
    known, unknown = sorted(kills.among(rules)), kills.unknown(rules)
    if known:
        yield f"{', '.join(known)} killed on this host by {where}"
    elif not unknown:
        yield f"{where} kills every flag that a route names; none does"
    if unknown:
        yield f"{where} names what is no flag: {', '.join(unknown[:10])}"
