"""Memory that was freed goes back to the system, so that one burst does not size a worker for ever."""

import ctypes
from typing import Final

TRIM_SECONDS: Final = 10.0
"""How often. It takes 0.1 ms when nothing is to be given back, about 1 ms for 30 MiB: hardly felt."""


def give_back() -> bool:
    """Ask the C library to return the pages it keeps free; False where it has no such function.

    glibc keeps what lies below a block in use. Copies of bodies are below the size that it maps apart
    (M_MMAP_THRESHOLD, 128 KiB), so after a stopped shadow a worker would keep its whole budget of them.
    """
    trim = getattr(ctypes.pythonapi, "malloc_trim", None)
    if trim is None:
        return False
    trim.argtypes = [ctypes.c_size_t]
    trim(0)
    return True
