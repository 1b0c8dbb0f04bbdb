"""A body kept as it came, in pieces: small ones are joined, so that what is counted is what is held.

A peer that sends two bytes in a chunk would otherwise cost an object of 40 bytes for each two that the
budget counts.
"""

from typing import Final

SMALL_BYTES: Final = 512
"""A longer piece costs an object of its own: under a tenth of what it holds."""

JOINED_BYTES: Final = 1024
"""What small pieces are joined to: short, because each joining copies it."""


def keep(pieces: list[bytes], data: bytes) -> None:
    """Add *data* to *pieces*, as a piece of its own or at the end of the last one."""
    if pieces and len(data) < SMALL_BYTES and len(pieces[-1]) < JOINED_BYTES:
        pieces[-1] += data
    else:
        pieces.append(data)
