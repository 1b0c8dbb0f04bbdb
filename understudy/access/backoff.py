"""How often one may fail, and how often one may write: bounded memory, time is an argument."""

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Final

FREE_FAILURES: Final = 5
FIRST_SECONDS: Final = 1.0
MOST_SECONDS: Final = 60.0
MOST_KEYS: Final = 1024


def network(peer: str) -> str:
    """What is counted as one for *peer*: an address, of IPv6 its first 64 bits, which one customer has whole.

    RFC 4291 2.5.1: the rest is chosen by the host, so a guesser would never come from one address twice.
    """
    try:
        address = ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ip_network((address.packed[:8] + bytes(8), 64)))


class Backoff:
    """After ``FREE_FAILURES`` failures of one key each further one doubles the wait: 1 s, 2 s, … 60 s.

    A key that did not fail for ten of the longest waits is forgotten; of more than ``MOST_KEYS`` keys, those
    that failed longest ago.
    """

    def __init__(self) -> None:
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def wait_seconds(self, key: tuple[str, str], now: float) -> float:
        """How long *key* has to wait until it is heard again; 0 when it is heard now."""
        count, last = self._failures.get(key, (0, now))
        if count <= FREE_FAILURES:
            return 0.0
        # The exponent is bounded first: 2.0 ** 1100 would be an OverflowError.
        wait = min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(count - FREE_FAILURES - 1, 10))
        return max(0.0, last + wait - now)

    def failed(self, key: tuple[str, str], now: float) -> None:
        """Count a failure of *key*."""
        count, last = self._failures.pop(key, (0, now))
        self._failures[key] = (1 if now - last > 10 * MOST_SECONDS else count + 1, now)
        while len(self._failures) > MOST_KEYS:
            self._failures.popitem(last=False)

    def __len__(self) -> int:
        return len(self._failures)


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Allowance:
    """A token bucket for each key: *rate* a second, *burst* at once. Knows ``MOST_KEYS`` keys at most."""

    def __init__(self, *, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_seconds(self, key: str, now: float) -> float:
        """0 and one taken from *key*'s bucket, or how long until there is one again."""
        bucket = self._buckets.pop(key, None) or _Bucket(self._burst, now)
        self._buckets[key] = bucket
        while len(self._buckets) > MOST_KEYS:
            self._buckets.popitem(last=False)
        bucket.left = min(self._burst, bucket.left + max(0.0, now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.left < 1.0:
            return (1.0 - bucket.left) / self._rate
        bucket.left -= 1.0
        return 0.0

    def __len__(self) -> int:
        return len(self._buckets)
