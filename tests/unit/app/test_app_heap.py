"""Memory that was freed goes back to the system."""

import platform
from pathlib import Path

import pytest

from understudy.app.heap import give_back

BLOCK_BYTES = 64 * 1024
BLOCKS = 1_000


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed pages and can return them"
)
def test_blocks_below_one_in_use_are_returned() -> None:
    """64 MiB in copies of 64 KiB are freed while a later one lives: the process shrinks by most of that."""
    blocks = [bytes([1]) * BLOCK_BYTES for _ in range(BLOCKS)]
    last = bytes([2]) * BLOCK_BYTES
    full = resident_bytes()
    blocks.clear()
    assert give_back()
    assert full - resident_bytes() > BLOCKS * BLOCK_BYTES // 2
    assert len(last) == BLOCK_BYTES
