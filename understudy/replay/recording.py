"""A recording as it is replayed: which of its requests are asked again, and why the others are not."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from understudy.errors import UnderstudyError
from understudy.replay.entries import GZIP, Entries, NoHar
from understudy.replay.entry import REASONS, Recorded, Unusable, read_entry

MOST_REQUESTS: Final = 1_000_000
MOST_HELD_BYTES: Final = 512 * 1024 * 1024
"""Of all requests together, answers are not held: some 500,000 requests of a browser."""

OBJECT_BYTES: Final = 400
"""What a request takes beside its texts, about."""


class RecordingError(UnderstudyError):
    """The file cannot be replayed; the message names it and the place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which requests are asked again. No *methods*: all. No *hosts*: the one that most requests went to."""

    methods: frozenset[str] | None
    hosts: frozenset[str] = frozenset()
    most_body_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a file gave. ``skipped`` counts by the reasons of `entry.REASONS`; ``broken`` says where the file
    breaks off, empty when it is whole; ``hosts`` counts the requests to each host in it."""

    name: str
    entries: int
    requests: tuple[Recorded, ...]
    skipped: Mapping[str, int]
    hosts: Mapping[str, int]
    replayed_hosts: tuple[str, ...]
    broken: str

    @property
    def why_skipped(self) -> str:
        """How many entries are not replayed for each reason, in words; empty when all are."""
        counted = sorted((reason, number) for reason, number in self.skipped.items() if number)
        return "; ".join(f"{number:,} {REASONS[reason]}" for reason, number in counted)


def read_recording(path: Path, selection: Selection) -> Recording:
    """The requests in the HAR at *path*, in the order in which they were asked. Raises `RecordingError`."""
    try:
        return _read(path, selection)
    except NoHar as error:
        raise RecordingError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise RecordingError(f"{path}: there is no such file") from None
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror or error}") from None


def _read(path: Path, selection: Selection) -> Recording:
    skipped: Counter[str] = Counter()
    found: list[Recorded] = []
    held = 0
    with path.open("rb") as file:
        if file.peek(2)[:2] == GZIP:
            raise RecordingError(
                f"{path}: is compressed; unpack it first: gunzip, or gzip -dc FILE > FILE.har"
            )
        entries = Entries(file)
        for entry in entries:
            try:
                request = read_entry(entry)
            except Unusable as reason:
                skipped[str(reason)] += 1
                continue
            held += _held_bytes(request)
            if held > MOST_HELD_BYTES or len(found) >= MOST_REQUESTS:
                raise RecordingError(
                    f"{path}: has more requests than can be held ({MOST_REQUESTS:,}, or "
                    f"{MOST_HELD_BYTES // 1024 // 1024} MiB of them): split the file"
                )
            found.append(request)
    total = len(found) + skipped.total()
    hosts = Counter(request.host for request in found)
    wanted = selection.hosts or frozenset(name for name, _ in hosts.most_common(1))
    kept = list(_selected(found, selection, wanted, skipped))
    return Recording(
        name=path.name,
        entries=total,
        requests=tuple(_in_order(kept)),
        skipped=dict(skipped),
        hosts=dict(hosts.most_common()),
        replayed_hosts=tuple(sorted(wanted)),
        broken=entries.broken,
    )


def _held_bytes(request: Recorded) -> int:
    fields = sum(len(name) + len(value) + 150 for name, value in (*request.headers, *request.credentials))
    return OBJECT_BYTES + len(request.path) + len(request.query) + len(request.body) + fields


def _selected(
    found: Collection[Recorded], selection: Selection, hosts: Collection[str], skipped: Counter[str]
) -> Iterator[Recorded]:
    for request in found:
        reason = _refusal(request, selection, hosts)
        if reason:
            skipped[reason] += 1
        else:
            yield request


def _refusal(request: Recorded, selection: Selection, hosts: Collection[str]) -> str:
    if request.host not in hosts:
        return "other_host"
    if request.method in ("CONNECT", "TRACE"):
        return "method"
    meant = {request.method, request.override or request.method}
    if selection.methods is not None and not meant <= selection.methods:
        return "method"
    return "body_too_large" if len(request.body) > selection.most_body_bytes else ""


def _in_order(requests: list[Recorded]) -> list[Recorded]:
    """By the time at which they were asked: browsers write them by page. As in the file, if one lacks it."""
    if any(request.at is None for request in requests):
        return requests
    return sorted(requests, key=lambda request: request.at or 0.0)
