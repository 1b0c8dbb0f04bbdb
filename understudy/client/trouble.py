"""Why there is no news from the server; never raised to whoever asks for a flag."""

from typing import Final

from understudy.errors import UnderstudyError

MOST_RETRY_SECONDS: Final = 120.0
"""How far a server may put us off with Retry-After."""


class Trouble(UnderstudyError):
    """The server could not be asked, or said what cannot be used.

    ``status`` is its HTTP status, 0 when there was none or it was a success; ``retry_after_seconds`` is what
    it asked for.
    """

    def __init__(self, message: str, *, status: int = 0, retry_after_seconds: float = 0.0) -> None:
        self.status = status
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class StreamTrouble(Trouble):
    """There is no stream of changes (``status``: it was refused), or it broke; asking may still do."""
