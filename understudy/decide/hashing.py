"""From a key to a bucket: the arithmetic of `fractional` in its three generations.

1: until April 2026, float arithmetic on the signed hash; 2: integers only (flagd 0.15); 3: the same
integers over deterministic CBOR. A rules document names its generation in `metadata.hashVersion`.
"""

import mmh3

GENERATIONS = (1, 2, 3)
DEFAULT_GENERATION = 2
"""What the flagd daemon and the Go and JavaScript providers compute."""

MOST_WEIGHT = 2**31 - 1
"""The sum of weights must fit a signed 32-bit integer (flagd)."""


def murmur(key: bytes) -> int:
    """MurmurHash3 x86 32 of *key*, seed 0, in ``range(2**32)``."""
    return mmh3.hash(key, 0, False)


def bucket(digest: int, total: int) -> int:
    """Map a 32-bit *digest* onto ``range(total)``. Integers only, so every language agrees."""
    return digest * total >> 32


def legacy_bucket(digest: int) -> float:
    """Generation 1: *digest* on ``[0, 100]``; both ends can be met (flagd before 0.15)."""
    signed = digest - 2**32 if digest >= 2**31 else digest
    return abs(signed) / 2147483647 * 100
