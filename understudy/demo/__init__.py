"""The sixty-second show: a shop, its next release, and Understudy in front of both."""

from pathlib import Path

__all__ = ["run"]


def run(*, once: bool, requests: int = 3000, folder: Path, seed: int = 1) -> int:
    """Play the whole demo and return the exit status.

    Starts two versions of a shop and a real ``understudy serve`` in child processes, sends *requests*
    requests, prints the report and compares it with the faults that were planted. Everything it
    writes goes into *folder*; evidence of an earlier demo there is deleted. With *once*, or without
    a terminal, it returns after the report; otherwise it waits for Ctrl-C. All children are ended
    before it returns.

    Returns 0 when every planted fault was found and nothing else was called a regression, 1 when
    not, 130 when it was interrupted before the report.
    """
    from understudy.demo.play import play  # late, so that starting a shop does not load the whole show

    return play(once=once, requests=requests, folder=folder, seed=seed)
