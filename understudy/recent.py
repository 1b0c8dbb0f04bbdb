"""What was met lately, in two generations; the older one is forgotten whole."""


class Recent:
    """Remembers at least the last *most* different numbers, and at most twice as many."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._young: set[int] = set()
        self._old: set[int] = set()

    def is_known(self, number: int) -> bool:
        """Whether *number* was met lately; from now on it was."""
        if number in self._young:
            return True
        is_known = number in self._old
        if len(self._young) >= self._most:
            self._old, self._young = self._young, set()
        self._young.add(number)
        return is_known

    def forget(self) -> None:
        """Nothing was met lately."""
        self._young, self._old = set(), set()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
